import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { exportJWK, generateKeyPair } from 'jose'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { createDocuments } from '../../src/core/client-metadata/documents.ts'
import { isDocumentKnown, resolveMetadataClient } from '../../src/core/client-metadata/resolve-client.ts'
import { Problem } from '../../src/lib/errors.ts'
import { newId } from '../../src/lib/ids.ts'
import { HOUR_MS } from '../../src/lib/time.ts'
import { APP_HOST, type DocumentServer, startDocumentServer } from '../support/document-server.ts'
import { everyLimit } from '../support/limits.ts'
import type { TestService } from '../support/service.ts'
import { useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const limited = useService(
  {
    rateLimits: {
      ...everyLimit({ limit: 1000, windowSeconds: 60 }),
      client_metadata: { limit: 3, windowSeconds: 3600 },
    },
  },
  service,
)
const denying = useService({ oauthClientMetadataDeny: ['*.example.com'] }, service)
const closed = useService({ oauthClientMetadata: 'off' }, service)
const sharing = useService({ algorithm: 'HS256' }, service)

let server: DocumentServer
beforeAll(async () => {
  server = await startDocumentServer()
  for (const { context } of [service, limited, denying, closed, sharing])
    context.documents = createDocuments(context, server.network)
})
afterAll(() => server.stop())
beforeEach(() => server.forget())

let documents = 0
/** The URL of a document that was not asked for yet. */
const newUrl = () => `https://${APP_HOST}/apps/${++documents}`
const documentOf = (url: string, more: Record<string, unknown> = {}) => ({
  client_id: url,
  client_name: 'An app',
  redirect_uris: ['https://app.example.com/callback', 'http://127.0.0.1/callback'],
  grant_types: ['authorization_code', 'refresh_token'],
  ...more,
})
const person = newId()
const resolve = (url: string, on: TestService = service, userId = person) =>
  resolveMetadataClient(on.context, SYSTEM, userId, url)
const refusalOf = async (url: string, on: TestService = service, userId = person) => {
  try {
    await resolve(url, on, userId)
    return 'taken'
  } catch (error) {
    if (error instanceof Problem) return `${error.problem}: ${error.extra.detail ?? ''}`
    throw error
  }
}
const refused = (sentence: string) => `invalid_request: This app cannot be used. ${sentence}`
const eventsOf = async (id: string) =>
  (await sql`SELECT action FROM latchkey.audit_events WHERE target_id = ${id} ORDER BY at`).map(
    ({ action }) => action,
  )

describe('an app with a metadata document', () => {
  test('is stored when it is first seen, and kept as its document says', async () => {
    const url = newUrl()
    server.serveJson(documentOf(url))
    const made = await resolve(url)
    expect(made).toMatchObject({
      clientId: url,
      source: 'metadata',
      kind: 'public',
      name: 'An app',
      redirectUris: ['https://app.example.com/callback', 'http://127.0.0.1/callback'],
      grants: ['authorization_code', 'refresh_token'],
      scopes: null,
      firstParty: false,
      isActive: true,
    })
    expect(await resolve(url)).toEqual(made)
    expect(server.asked).toHaveLength(1)
    expect(await eventsOf(made.id)).toEqual(['client.first_seen'])

    server.serveJson(documentOf(url, { client_name: 'A new name', grant_types: ['authorization_code'] }))
    service.advance(25 * HOUR_MS)
    expect(await resolve(url)).toMatchObject({
      id: made.id,
      name: 'A new name',
      grants: ['authorization_code'],
    })
    expect(await eventsOf(made.id)).toEqual(['client.first_seen', 'client.updated'])
  })

  test('is stored once, however many ask at once', async () => {
    const url = newUrl()
    server.serveJson(documentOf(url))
    const rows = await Promise.all([1, 2, 3, 4].map(() => resolve(url)))
    const [first] = rows
    expect(new Set(rows.map(({ id }) => id)).size).toBe(1)
    expect(await eventsOf(first?.id ?? '')).toEqual(['client.first_seen'])
    expect(server.asked).toHaveLength(1)
  })

  test('is refused while its row is disabled, and its host is not asked', async () => {
    const url = newUrl()
    server.serveJson(documentOf(url))
    const { id } = await resolve(url)
    await sql`UPDATE latchkey.oauth_clients SET is_active = false WHERE id = ${id}`
    service.advance(25 * HOUR_MS)
    server.forget()
    expect(await refusalOf(url)).toBe(refused('An admin disabled this app.'))
    expect(server.asked).toEqual([])
    await sql`UPDATE latchkey.oauth_clients SET is_active = true WHERE id = ${id}`
    expect(await refusalOf(url)).toBe('taken')
  })

  test('is told apart from one whose document is known', async () => {
    const url = newUrl()
    server.serveJson(documentOf(url))
    expect(isDocumentKnown(service.context, url)).toBe(false)
    await resolve(url)
    expect(isDocumentKnown(service.context, url)).toBe(true)
    expect(isDocumentKnown(service.context, 'latchkey-docs')).toBe(false)
  })

  test.each([
    [
      'names another app',
      { client_id: `https://${APP_HOST}/other` },
      'The document names another client_id.',
    ],
    ['names nobody', { client_id: undefined }, 'The document names another client_id.'],
    ['has a secret', { client_secret: 'x' }, 'The document has a secret in it.'],
    ['has a shared key', { jwks: { keys: [{ kty: 'oct', k: 'AA' }] } }, 'The document has a secret in it.'],
    ['has no redirect URI', { redirect_uris: [] }, 'Its redirect_uris must be a list of 1 to 20 texts.'],
    [
      'has redirect URIs of other apps on a machine alone',
      { redirect_uris: ['com.example.app:/callback'] },
      'One of its redirect_uris cannot be used: Must be https, or http on localhost, 127.0.0.1 or [::1].',
    ],
    [
      'has a name of 101 characters',
      { client_name: 'n'.repeat(101) },
      'Its client_name must be a text of 1 to 100 characters, on one line.',
    ],
    [
      'has a name that turns the direction of text',
      { client_name: 'Bank\u202etxet' },
      'Its client_name must be a text of 1 to 100 characters, on one line.',
    ],
    [
      'authenticates by a secret',
      { token_endpoint_auth_method: 'client_secret_basic' },
      'Its token_endpoint_auth_method must be none or private_key_jwt.',
    ],
    [
      'has its keys on another host',
      { token_endpoint_auth_method: 'private_key_jwt', jwks_uri: 'https://other.example.com/jwks' },
      'With private_key_jwt, its jwks_uri must be a URL on the same host.',
    ],
    [
      'has its keys nowhere',
      { token_endpoint_auth_method: 'private_key_jwt' },
      'With private_key_jwt, its jwks_uri must be a URL on the same host.',
    ],
    [
      'takes no codes',
      { grant_types: ['client_credentials'] },
      'Its grant_types must have authorization_code.',
    ],
    ['takes tokens in the URL', { response_types: ['token'] }, 'Its response_types must have code.'],
  ])('is refused where its document %s', async (_, more, sentence) => {
    const url = newUrl()
    server.serveJson(documentOf(url, more))
    expect(await refusalOf(url)).toBe(refused(sentence))
    expect(await sql`SELECT 1 FROM latchkey.oauth_clients WHERE client_id = ${url}`).toHaveLength(0)
  })

  test('keeps those of its redirect URIs that may be used', async () => {
    const url = newUrl()
    const redirect_uris = ['com.example.app:/callback', 'https://app.example.com/callback']
    server.serveJson(documentOf(url, { redirect_uris }))
    expect((await resolve(url)).redirectUris).toEqual(['https://app.example.com/callback'])
  })

  test('has the public keys of its own host stored with it', async () => {
    const url = newUrl()
    const { publicKey } = await generateKeyPair('ES256', { extractable: true })
    const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: 'one' }] }
    const more = { token_endpoint_auth_method: 'private_key_jwt', jwks_uri: `${url}/jwks` }
    server.serve((request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      response.end(JSON.stringify(request.url?.endsWith('/jwks') ? jwks : documentOf(url, more)))
    })
    expect(await resolve(url)).toMatchObject({ kind: 'confidential', jwks, jwksUri: null })
  })

  test('is refused by the settings, and by a service without public keys', async () => {
    const url = newUrl()
    server.serveJson(documentOf(url))
    expect(await refusalOf(url, denying)).toBe(refused('Apps of its host are not taken here.'))
    expect(await refusalOf(url, closed)).toBe(refused('Apps are registered here by an admin.'))
    expect(await refusalOf(url, sharing)).toBe(refused('Apps are registered here by an admin.'))
    expect(server.asked).toEqual([])
    expect(await refusalOf(url)).toBe('taken')
  })
})

test('a person lets a few different documents be fetched, and each of them as often as needed', async () => {
  const urls = [newUrl(), newUrl(), newUrl(), newUrl()]
  server.serve((request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(documentOf(`https://${APP_HOST}${request.url}`)))
  })
  const [one = '', two = '', three = '', four = ''] = urls
  for (const url of [one, two, three, one, two, three]) expect(await refusalOf(url, limited)).toBe('taken')
  expect(await refusalOf(four, limited)).toStartWith('rate_limited')
  expect(limited.context.metrics.rateLimited.client_metadata).toBe(1)
  expect(server.asked).toHaveLength(3)
  // Another person at the same address, and what one of them had fetched.
  expect(await refusalOf(four, limited, newId())).toBe('taken')
  expect(await refusalOf(four, limited)).toBe('taken')
  limited.advance(HOUR_MS)
  expect(await refusalOf(newUrl(), limited)).toBe('taken')
})
