import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { gunzipSync } from 'node:zlib'
import { codingFor } from '../../src/api/compression.ts'
import { secret } from '../../src/lib/secret.ts'
import { newKey } from '../support/client.ts'
import { addLoggedIn, connectTo } from '../support/people.ts'
import { startService, type TestService } from '../support/service.ts'

const TOKEN = 'qX7vB2mK9qT4wZ8nRdF3'
const ORIGIN = 'https://app.example.com'

let service: TestService
let access: string
let key: string
let keyId: string
let admin: string
beforeAll(async () => {
  service = await startService({ metricsToken: secret(TOKEN), corsOrigins: [ORIGIN] })
  const sql = connectTo(service)
  access = (await addLoggedIn(service, sql)).access
  admin = (await addLoggedIn(service, sql, { role: 'admin' })).access
  for (let i = 0; i < 5; i++)
    ({ id: keyId, key } = await newKey(service, access, { name: 'n'.repeat(100), scopes: 'read' }))
  await sql.end()
})
afterAll(() => service.stop())

/** An answer as it came over the wire. */
async function ask(path: string, accepted: string | null, bearer = access, init: RequestInit = {}) {
  const headers = new Headers(init.headers)
  headers.set('authorization', `Bearer ${bearer}`)
  headers.set('accept-encoding', accepted ?? 'identity')
  const answer = await fetch(`${service.url}${path}`, { ...init, headers, decompress: false })
  const bytes = new Uint8Array(await answer.arrayBuffer())
  return { status: answer.status, headers: answer.headers, bytes }
}

const MANY_ADDRESSES = ['127.0.0.1', ...Array.from({ length: 49 }, (_, at) => `203.0.113.${at}`)]

const LONG: [path: string, bearer: () => string][] = [
  ['/keys/list', () => access],
  ['/openapi.json', () => access],
  ['/docs/swagger-ui-bundle.js', () => access],
  ['/docs/swagger-ui.css', () => access],
  ['/metrics', () => TOKEN],
]

describe('an answer above 1 KiB', () => {
  test.each(LONG)(
    '%s is compressed as the client takes it, and the same underneath',
    async (path, bearer) => {
      const plain = await ask(path, null, bearer())
      expect([plain.status, plain.headers.get('content-encoding')]).toEqual([200, null])
      expect(plain.bytes.length).toBeGreaterThan(1024)
      const text = new TextDecoder().decode(plain.bytes)
      for (const [accepted, coding, open] of [
        ['gzip, deflate, br, zstd', 'zstd', Bun.zstdDecompressSync],
        ['gzip', 'gzip', gunzipSync],
      ] as const) {
        // Twice: what is kept is as good as what was just made.
        for (let i = 0; i < 2; i++) {
          const answer = await ask(path, accepted, bearer())
          expect([answer.status, answer.headers.get('content-encoding')]).toEqual([200, coding])
          expect(answer.bytes.length).toBeLessThan(plain.bytes.length / 2)
          expect(Number(answer.headers.get('content-length') ?? answer.bytes.length)).toBe(
            answer.bytes.length,
          )
          const opened = new TextDecoder().decode(open(answer.bytes))
          if (path === '/metrics') expect(opened.slice(0, 500)).toBe(text.slice(0, 500))
          else expect(opened).toBe(text)
          for (const name of ['content-type', 'cache-control', 'content-security-policy', 'ratelimit-limit'])
            expect([name, answer.headers.get(name)]).toEqual([name, plain.headers.get(name)])
          expect(answer.headers.get('x-request-id')).not.toBeNull()
        }
      }
      for (const { headers } of [plain, await ask(path, 'gzip', bearer())])
        expect(headers.get('vary')?.split(/, */)).toContain('Accept-Encoding')
    },
  )

  test.each<[path: string, what: string, method: string, body: () => object]>([
    [
      '/keys/verify-batch',
      'of a batch',
      'POST',
      () => ({ keys: Array.from({ length: 20 }, () => ({ key })) }),
    ],
    [
      '/keys/import',
      'of an import',
      'POST',
      () => ({ keys: Array.from({ length: 20 }, () => ({ name: 'n', owner: { email: 'x@example.com' } })) }),
    ],
    [
      '/keys/:id',
      'of a change',
      'PATCH',
      () => ({ description: 'd'.repeat(500), allowed_ips: MANY_ADDRESSES }),
    ],
  ])('%s is compressed: that %s holds no secret', async (path, _, method, body) => {
    const init = { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body()) }
    const to = path.replace(':id', keyId)
    const by = method === 'PATCH' ? access : admin
    const plain = await ask(to, null, by, init)
    expect([plain.status, plain.bytes.length > 1024, plain.headers.get('content-encoding')]).toEqual([
      200,
      true,
      null,
    ])
    const answer = await ask(to, 'gzip', by, init)
    expect([answer.status, answer.headers.get('content-encoding')]).toEqual([200, 'gzip'])
    expect(JSON.parse(new TextDecoder().decode(gunzipSync(answer.bytes)))).toEqual(
      JSON.parse(new TextDecoder().decode(plain.bytes)),
    )
    expect(answer.headers.get('vary')).toContain('Accept-Encoding')
    expect(answer.headers.get('x-request-id')).not.toBeNull()
  })

  test('keeps what CORS says of its variants', async () => {
    const { headers } = await ask('/keys/list', 'gzip', access, { headers: { origin: ORIGIN } })
    expect(headers.get('access-control-allow-origin')).toBe(ORIGIN)
    expect(headers.get('vary')?.split(/, */).sort()).toEqual(['Accept-Encoding', 'Origin'])
  })

  test('with a secret is never compressed, nor is one that is small, a picture, or a refusal', async () => {
    const made = await ask('/keys', 'gzip, zstd', access, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ description: 'd'.repeat(500), allowed_ips: MANY_ADDRESSES }),
    })
    expect([made.status, made.bytes.length > 1024]).toEqual([201, true])
    const others = [
      made,
      await ask('/auth/me', 'gzip, zstd'),
      await ask('/docs/favicon.png', 'gzip, zstd'),
      await ask('/keys/list', 'gzip, zstd', 'wrong'),
      await ask('/protected/any', 'gzip, zstd', key),
    ]
    expect(others.map(({ status }) => status)).toEqual([201, 200, 200, 401, 200])
    for (const { headers } of others) expect(headers.get('content-encoding')).toBeNull()
  })
})

test.each<[string | null, string | null]>([
  [null, null],
  ['', null],
  ['identity', null],
  ['br', null],
  ['gzip', 'gzip'],
  ['GZIP', 'gzip'],
  ['zstd', 'zstd'],
  ['gzip, zstd', 'zstd'],
  ['gzip;q=1.0, zstd;q=0.5', 'gzip'],
  ['zstd;q=0, gzip', 'gzip'],
  ['zstd;q=0, gzip;q=0', null],
  ['*', 'zstd'],
  ['*;q=0', null],
  ['zstd;q=0, *', 'gzip'],
  ['gzip ; q=0.5', 'gzip'],
  ['gzip;q=nonsense', null],
  [',,;;q=,', null],
])('%p asks for %p', (accepted, coding) => {
  expect(codingFor(accepted)).toBe(coding as never)
})
