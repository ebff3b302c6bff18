import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose'
import { BASIC_CHALLENGE, fail } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import { MINUTE_MS, SECOND_MS } from '../../lib/time.ts'
import { hashToken } from '../../lib/tokens.ts'
import type { ClientRow } from '../clients/rows.ts'
import type { Context } from '../context.ts'
import { readKeySet } from './document.ts'
import { insertAssertion } from './queries.ts'
import { readDocumentUrl } from './url.ts'

/** Public-key algorithms alone: a shared secret would be no key of the client's own. */
const ASSERTION_ALGORITHMS = ['ES256', 'ES384', 'ES512', 'RS256', 'PS256', 'EdDSA']

const MAX_LENGTH = 8192
const MAX_JTI_LENGTH = 255
/** An assertion works for so long, so that its `jti` need not be kept for longer. */
const MAX_LIFE_MS = 5 * MINUTE_MS
const TYPES = [undefined, 'JWT', 'client-authentication+jwt']

type KeyedClient = Pick<ClientRow, 'id' | 'clientId' | 'jwks' | 'jwksUri'>

/**
 * Verifies the assertion by which a client authenticates (`private_key_jwt`; RFC 7523, oauth.md, section 8): signed by a key of
 * the client, `iss` and `sub` its `client_id`, `aud` the issuer, `exp` at most five minutes away. Each `jti` works once.
 * @throws Problem invalid_client
 */
export async function verifyClientAssertion(
  context: Context,
  client: KeyedClient,
  assertion: string,
): Promise<void> {
  const { jti, expiresAtMs } = await readAssertion(context, client, assertion)
  const isNew = await insertAssertion(context.db, {
    id: newId(),
    clientId: client.id,
    hash: hashToken(jti),
    expiresAt: new Date(expiresAtMs),
  })
  if (!isNew) failClient()
}

async function readAssertion(context: Context, client: KeyedClient, assertion: string) {
  const jwks = assertion.length > MAX_LENGTH ? null : await findKeys(context, client)
  if (jwks === null) return failClient()
  const now = context.clock()
  const issuer = context.config.publicUrl
  const verified = await jwtVerify(assertion, createLocalJWKSet(jwks), {
    algorithms: ASSERTION_ALGORITHMS,
    issuer: client.clientId,
    subject: client.clientId,
    audience: issuer,
    requiredClaims: ['iss', 'sub', 'aud', 'exp', 'jti'],
    currentDate: new Date(now),
  }).catch(() => failClient())
  const { aud, exp = 0, jti } = verified.payload
  const expiresAtMs = exp * SECOND_MS
  // For the issuer alone: another server that the assertion also names could use it here.
  const isForUs = aud === issuer || (Array.isArray(aud) && aud.length === 1)
  const isShort = expiresAtMs - now <= MAX_LIFE_MS
  const hasName = typeof jti === 'string' && jti.length > 0 && jti.length <= MAX_JTI_LENGTH
  if (!isForUs || !isShort || !hasName || !TYPES.includes(verified.protectedHeader.typ)) return failClient()
  return { jti, expiresAtMs }
}

/** The public keys of a client: stored, or at its `jwks_uri`, which is fetched and kept like a metadata document. */
async function findKeys(
  { documents }: Pick<Context, 'documents'>,
  { jwks, jwksUri }: KeyedClient,
): Promise<JSONWebKeySet | null> {
  if (jwks !== null) return jwks
  const read = readDocumentUrl(jwksUri ?? '')
  if ('fault' in read) return null
  const found = await documents.read(read.url)
  const keys = 'fault' in found ? found : readKeySet(found.json)
  return 'fault' in keys ? null : keys
}

function failClient(): never {
  fail('invalid_client', { headers: { 'WWW-Authenticate': BASIC_CHALLENGE } })
}
