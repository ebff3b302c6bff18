import { expect } from 'bun:test'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { createAdmin } from '../../src/core/users/accounts.ts'
import { type Answer, call, logIn, newKey } from './client.ts'
import { expectSpent } from './problem.ts'
import type { TestService } from './service.ts'

/** A service account with one key, with which an OAuth client authenticates. */
export type OAuthClient = { id: string; keyId: string; secret: string }

/** An admin's access token. */
export async function adminToken(service: TestService): Promise<string> {
  const email = `admin-${Bun.randomUUIDv7()}@example.com`
  const password = 'correct-horse-battery'
  await createAdmin(service.context, SYSTEM, { email, password })
  return (await logIn(service, email, password)).access
}

/** Creates a service account with a key, with the credential of a caller who may do so. */
export async function newClient(
  service: TestService,
  bearer: string,
  scopes: readonly string[] = ['read', 'write'],
  key: Record<string, unknown> = {},
): Promise<OAuthClient> {
  const made = await call(service, 'POST /service-accounts', { bearer, json: { name: 'batch', scopes } })
  if (made.status !== 201) throw new Error(`A service account: ${made.status} ${made.text}`)
  const service_account_id = made.body.id
  const { id, key: secret } = await newKey(service, bearer, { scopes, service_account_id, ...key })
  return { id: service_account_id, keyId: id, secret }
}

/** Basic authentication by RFC 6749, section 2.3.1: both parts are form-encoded first. */
export function basic(id: string, secret: string): { authorization: string } {
  const encode = (text: string) => encodeURIComponent(text).replaceAll('%20', '+')
  return { authorization: `Basic ${btoa(`${encode(id)}:${encode(secret)}`)}` }
}

/** Requests a client's own token at the token endpoint. */
export function grantToClient(
  service: TestService,
  client: Pick<OAuthClient, 'id' | 'secret'>,
  form: Record<string, string> = {},
): Promise<Answer> {
  return call(service, 'POST /oauth/token', {
    form: { grant_type: 'client_credentials', ...form },
    headers: basic(client.id, client.secret),
  })
}

/** A client's own access token. */
export async function tokenOf(
  service: TestService,
  client: Pick<OAuthClient, 'id' | 'secret'>,
  scope?: string,
): Promise<string> {
  const answer = await grantToClient(service, client, scope === undefined ? {} : { scope })
  if (answer.status !== 200) throw new Error(`A client's token: ${answer.status} ${answer.text}`)
  return answer.body.access_token
}

/**
 * Asserts the complete error of RFC 6749: its members and their alphabet, the content type, and that the
 * answer must not be stored.
 */
export function expectOAuthError(answer: Answer, status: number, error: string): void {
  expect(`${answer.status} ${answer.body?.error}`).toBe(`${status} ${error}`)
  expect(Object.keys(answer.body).sort()).toEqual(['error', 'error_description'])
  expect(answer.body.error_description).toMatch(/^[\x20\x21\x23-\x5b\x5d-\x7e]+$/)
  expect(answer.headers.get('content-type')).toBe('application/json')
  expect(answer.headers.get('cache-control')).toBe('no-store')
  if (status === 429) expectSpent(answer)
  const challenge = answer.headers.get('www-authenticate')
  if (status === 401) expect(challenge).toMatch(/\bBasic realm="latchkey"/)
  else if (status !== 403) expect(challenge).toBeNull()
}
