import { describe, expect, test } from 'bun:test'
import { challengeOfResource, metadataUrlOf } from '../../src/lib/resource-metadata.ts'
import { addResource } from '../support/app-tokens.ts'
import { call } from '../support/client.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const PLACE = '/.well-known/oauth-protected-resource'
const read = (name: string) => call(service, `GET ${PLACE}/${name}`)

describe('the metadata of a protected resource (RFC 9728)', () => {
  test('are public, and found by the slug and by the identifier', async () => {
    const { slug, identifier } = await addResource(sql, ['read', 'write'])
    const answer = await read(slug)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('cache-control')).toBe('public, max-age=300')
    expect(answer.body).toEqual({
      resource: identifier,
      resource_name: `The ${slug}`,
      authorization_servers: [service.config.publicUrl],
      scopes_supported: ['read', 'write'],
      bearer_methods_supported: ['header'],
    })
    expect((await read(encodeURIComponent(identifier))).body).toEqual(answer.body)
    expect((await read(`${slug}/`)).body).toEqual(answer.body)
  })

  test('are there for Latchkey’s own resource', async () => {
    const { body } = await read('latchkey')
    expect(body.resource).toBe(`${service.config.publicUrl}/latchkey`)
    expect(body.scopes_supported).toContain('latchkey:keys.read')
  })

  test('are 404 for anything else', async () => {
    for (const name of ['nothing', 'constructor', '__proto__', 'a'.repeat(600)]) {
      const answer = await read(name)
      expectProblem(answer, 'not_found')
      expect(answer.headers.get('cache-control')).not.toContain('public')
    }
  })

  test('are 404 without published keys', async () => {
    const shared = await startService({ algorithm: 'HS256' })
    try {
      expectProblem(await call(shared, `GET ${PLACE}/latchkey`), 'not_found')
      const json = { credential: 'sk_x' }
      expectProblem(await call(shared, 'POST /verify', { json }), 'missing_credential')
    } finally {
      await shared.stop()
    }
  })
})

test.each([
  ['https://a.example.com', 'https://a.example.com', ''],
  ['https://a.example.com/', 'https://a.example.com', ''],
  ['https://a.example.com:8443/mcp', 'https://a.example.com:8443', '/mcp'],
  ['https://a.example.com/mcp/', 'https://a.example.com', '/mcp/'],
  ['https://a.example.com/a/b?c=d', 'https://a.example.com', '/a/b?c=d'],
  ['https://a.example.com/?c=d', 'https://a.example.com', '?c=d'],
  ['https://a.example.com?c=d', 'https://a.example.com', '?c=d'],
  ['http://127.0.0.1:3000/mcp', 'http://127.0.0.1:3000', '/mcp'],
])('the metadata of %s are at the place of RFC 9728, section 3.1', (identifier, origin, path) => {
  expect(metadataUrlOf(identifier)).toBe(`${origin}${PLACE}${path}`)
})

test('nothing of an identifier ends the quotation of a challenge', () => {
  const challenge = challengeOfResource('https://a.example.com/x", evil="\\\r\n€', ['read'])
  expect(challenge).toBe(
    `resource_metadata="https://a.example.com${PLACE}/x%22,%20evil=%22%5C%0D%0A%E2%82%AC", scope="read"`,
  )
})
