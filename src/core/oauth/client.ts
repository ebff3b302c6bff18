import { BASIC_CHALLENGE, type Extra, fail } from '../../lib/errors.ts'
import { isAccessToken, MAX_CREDENTIAL_LENGTH } from '../../lib/tokens.ts'
import type { Context } from '../context.ts'
import type { KeyPrincipal } from '../principal.ts'
import { verifyCredential } from '../verify/verify-credential.ts'
import type { ClientForm } from './model.ts'

/** The credentials that a client presents (RFC 6749, section 2.3.1). */
export type ClientCredentials = { id: string; secret: string }

const BASIC = /^basic( |$)/i
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/
/** The longest id, colon and secret, in base64. */
const MAX_BASIC_LENGTH = 2 * MAX_CREDENTIAL_LENGTH

/**
 * The credentials of the client, from the Authorization header or from the form; null where it presents none. An empty
 * secret counts as none, because it proves nothing; Swagger UI sends one.
 * @throws Problem invalid_request where both are present, invalid_client for a header that cannot be read
 */
export function readClient(authorization: string | null, form: ClientForm): ClientCredentials | null {
  const inHeader = authorization !== null && BASIC.test(authorization) ? readBasic(authorization) : null
  const { client_id: id = '', client_secret: secret = '' } = form
  if (inHeader && (secret !== '' || (id !== '' && id !== inHeader.id))) {
    fail('invalid_request', { detail: 'Authenticate one client, in one way.' })
  }
  if (inHeader) return inHeader
  return secret === '' ? null : { id, secret }
}

function readBasic(authorization: string): ClientCredentials | null {
  // `trim` instead of a regular expression: matching spaces on both sides takes time that grows with the square of the
  // header's length.
  const encoded = authorization.slice('basic'.length).trim()
  if (encoded.length > MAX_BASIC_LENGTH || !BASE64.test(encoded)) return failClient()
  const text = Buffer.from(encoded, 'base64').toString()
  const at = text.indexOf(':')
  if (text === ':') return null
  try {
    const client = { id: formDecode(text.slice(0, at)), secret: formDecode(text.slice(at + 1)) }
    if (at > 0) return client.secret === '' ? null : client
  } catch {
    // A broken percent-encoding is refused like a header without a colon.
  }
  return failClient()
}

const formDecode = (text: string): string => decodeURIComponent(text.replaceAll('+', ' '))

/**
 * The key with which a service account authenticates: the client id is the account's id, the secret one of its keys.
 * @throws Problem invalid_client
 */
export async function authenticateClient(context: Context, client: ClientCredentials): Promise<KeyPrincipal> {
  const principal = isAccessToken(client.secret) ? null : await verifyCredential(context, client.secret)
  if (
    principal?.kind === 'key' &&
    principal.owner.type === 'service_account' &&
    principal.owner.id === client.id
  ) {
    return principal
  }
  const keyId = principal && 'keyId' in principal ? principal.keyId : undefined
  return failClient(keyId === undefined ? {} : { audit: { key_id: keyId } })
}

/** Refuses a client. The 401 names the way to authenticate (RFC 6749, section 5.2; RFC 9110, section 15.5.2). */
export function failClient(extra: Pick<Extra, 'audit'> = {}): never {
  fail('invalid_client', { ...extra, headers: { 'WWW-Authenticate': BASIC_CHALLENGE } })
}
