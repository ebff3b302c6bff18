import { afterAll, beforeAll, expect, test } from 'bun:test'
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { verifyClientAssertion } from '../../src/core/client-metadata/assertion.ts'
import { createDocuments } from '../../src/core/client-metadata/documents.ts'
import { deleteOutdated } from '../../src/core/housekeeping/delete-outdated.ts'
import { Problem } from '../../src/lib/errors.ts'
import { newId } from '../../src/lib/ids.ts'
import { HOUR_MS } from '../../src/lib/time.ts'
import { APP_HOST, type DocumentServer, startDocumentServer } from '../support/document-server.ts'
import { useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)

type Client = { id: string; clientId: string; jwks: { keys: JWK[] } | null; jwksUri: string | null }
let server: DocumentServer
let pair: Awaited<ReturnType<typeof generateKeyPair>>
let publicKey: JWK
let client: Client

async function addClient(keys: Pick<Client, 'jwks' | 'jwksUri'>): Promise<Client> {
  const id = newId()
  await sql`INSERT INTO latchkey.oauth_clients (id, client_id, source, kind, name, redirect_uris, grants, created_at)
    VALUES (${id}, ${id}, 'registered', 'confidential', 'x', '{}', '{}', now())`
  return { id, clientId: id, ...keys }
}
beforeAll(async () => {
  server = await startDocumentServer()
  service.context.documents = createDocuments(service.context, server.network)
  pair = await generateKeyPair('ES256', { extractable: true })
  publicKey = { ...(await exportJWK(pair.publicKey)), kid: 'one' }
  client = await addClient({ jwks: { keys: [publicKey] }, jwksUri: null })
})
afterAll(() => server.stop())

type Made = {
  claims?: Record<string, unknown>
  header?: Record<string, unknown>
  key?: CryptoKey | Uint8Array
}

/** An assertion that is right but for what a test changes. */
function assertionOf({ clientId }: Client, { claims = {}, header = {}, key = pair.privateKey }: Made = {}) {
  const now = Math.floor(service.context.clock() / 1000)
  const payload = {
    iss: clientId,
    sub: clientId,
    aud: service.config.publicUrl,
    exp: now + 60,
    iat: now,
    jti: newId(),
    ...claims,
  }
  return new SignJWT(payload).setProtectedHeader({ alg: 'ES256', kid: 'one', ...header }).sign(key)
}
async function outcomeOf(assertion: string, by: Client = client): Promise<string> {
  try {
    await verifyClientAssertion(service.context, by, assertion)
    return 'authenticated'
  } catch (error) {
    if (error instanceof Problem) return error.problem
    throw error
  }
}
const seconds = (more: number) => Math.floor(service.context.clock() / 1000) + more

test('an assertion authenticates its client once', async () => {
  const assertion = await assertionOf(client)
  expect(await outcomeOf(assertion)).toBe('authenticated')
  expect(await outcomeOf(assertion)).toBe('invalid_client')
  const again = await assertionOf(client)
  const both = await Promise.all([outcomeOf(again), outcomeOf(again)])
  expect(both.sort()).toEqual(['authenticated', 'invalid_client'])
})

test('an assertion is for the issuer alone, of the client itself, and short', async () => {
  const { publicUrl } = service.config
  const refused: Made[] = [
    { claims: { iss: 'other' } },
    { claims: { sub: 'other' } },
    { claims: { aud: `${publicUrl}/oauth/token` } },
    { claims: { aud: [publicUrl, 'https://other.example.com'] } },
    { claims: { aud: undefined } },
    { claims: { exp: seconds(301) } },
    { claims: { exp: seconds(-1) } },
    { claims: { exp: undefined } },
    { claims: { nbf: seconds(60) } },
    { claims: { jti: undefined } },
    { claims: { jti: '' } },
    { claims: { jti: 'x'.repeat(256) } },
    { header: { typ: 'at+jwt' } },
    { header: { kid: 'two' } },
  ]
  for (const made of refused)
    expect([made, await outcomeOf(await assertionOf(client, made))]).toEqual([made, 'invalid_client'])
  const taken: Made[] = [
    {},
    { claims: { aud: [publicUrl] } },
    { claims: { exp: seconds(299) } },
    { header: { typ: 'JWT' } },
    { header: { typ: 'client-authentication+jwt' } },
  ]
  for (const made of taken)
    expect([made, await outcomeOf(await assertionOf(client, made))]).toEqual([made, 'authenticated'])
})

test('an assertion is signed by a key of the client, with its own algorithm', async () => {
  const other = await generateKeyPair('ES256')
  expect(await outcomeOf(await assertionOf(client, { key: other.privateKey }))).toBe('invalid_client')
  const secret = new TextEncoder().encode(JSON.stringify(publicKey))
  const confused = await assertionOf(client, { header: { alg: 'HS256' }, key: secret })
  expect(await outcomeOf(confused)).toBe('invalid_client')
  const [head, body] = (await assertionOf(client)).split('.')
  const none = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url')
  for (const text of [`${none}.${body}.`, `${head}.${body}.`, 'x', '', 'x'.repeat(9000)])
    expect(await outcomeOf(text)).toBe('invalid_client')
  const without = await addClient({ jwks: null, jwksUri: null })
  expect(await outcomeOf(await assertionOf(without), without)).toBe('invalid_client')
  expect(await outcomeOf(await assertionOf(client))).toBe('authenticated')
})

test("a client's keys are fetched from its jwks_uri, and kept", async () => {
  server.serveJson({ keys: [publicKey] })
  const byUri = await addClient({ jwks: null, jwksUri: `https://${APP_HOST}/jwks` })
  for (let i = 0; i < 2; i++) expect(await outcomeOf(await assertionOf(byUri), byUri)).toBe('authenticated')
  expect(server.asked).toHaveLength(1)
  server.addresses = [['127.0.0.1']]
  const inside = await addClient({ jwks: null, jwksUri: `https://${APP_HOST}/inside` })
  expect(await outcomeOf(await assertionOf(inside), inside)).toBe('invalid_client')
  expect(server.asked).toHaveLength(1)
})

test('used assertions are deleted after their end', async () => {
  expect(await outcomeOf(await assertionOf(client))).toBe('authenticated')
  const count = async () => (await sql`SELECT 1 FROM latchkey.used_assertions`).length
  await deleteOutdated(service.context, { vacuums: false })
  expect(await count()).toBeGreaterThan(0)
  service.advance(HOUR_MS)
  await deleteOutdated(service.context, { vacuums: false })
  expect(await count()).toBe(0)
})
