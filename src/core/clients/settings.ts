import type { JWK } from 'jose'
import { failField } from '../../lib/errors.ts'
import { requireScopes } from '../../lib/scopes.ts'
import { readDocumentUrl } from '../client-metadata/url.ts'
import type { OAuthClientPatch } from './model.ts'
import type { ClientChange, ClientRow } from './queries.ts'
import { findRedirectUriFault } from './redirect-uris.ts'

/** The members that make each kind of public key (RFC 7518, section 6; RFC 8037). */
const PUBLIC_MEMBERS = new Map([
  ['EC', ['crv', 'x', 'y']],
  ['RSA', ['n', 'e']],
  ['OKP', ['crv', 'x']],
])
/** Members that a key may have besides. Others are not stored. */
const MORE_MEMBERS = ['kid', 'alg', 'use']
/** Members that only a private key has, or a secret. */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']
const MEMBER = /^[\x21-\x7e]+$/
/** Of each member; an RSA key of 8192 bits has a modulus of 1,366 characters. */
const MAX_MEMBER_LENGTH = 1400

/**
 * The columns that a body changes.
 * @throws Problem validation_failed
 */
export function readSettings(body: OAuthClientPatch): ClientChange {
  const change: ClientChange = {}
  if (body.name !== undefined) change.name = body.name
  if (body.redirect_uris !== undefined) change.redirectUris = readUris('/redirect_uris', body.redirect_uris)
  if (body.post_logout_redirect_uris !== undefined)
    change.postLogoutRedirectUris = readUris('/post_logout_redirect_uris', body.post_logout_redirect_uris)
  if (body.grants !== undefined) change.grants = [...new Set(body.grants)]
  if (body.scopes !== undefined)
    change.scopes = body.scopes === null ? null : requireScopes('/scopes', body.scopes)
  if (body.first_party !== undefined) change.firstParty = body.first_party
  if (body.is_active !== undefined) change.isActive = body.is_active
  return { ...change, ...readKeys(body) }
}

/**
 * What the members of a client ask of each other.
 * @throws Problem validation_failed
 */
export function requireConsistent(
  client: Pick<ClientRow, 'kind' | 'grants' | 'redirectUris' | 'jwks' | 'jwksUri'>,
): void {
  const { kind, grants, redirectUris, jwks, jwksUri } = client
  if (grants.every((grant) => grant === 'refresh_token'))
    failField('/grants', 'Must name a grant by which the app gets its first token')
  if (grants.includes('authorization_code') && redirectUris.length === 0)
    failField('/redirect_uris', 'Must name at least one for the grant authorization_code')
  if (kind === 'confidential') return
  if (jwks !== null) failField('/jwks', 'Must be left out: a public client does not authenticate')
  if (jwksUri !== null) failField('/jwks_uri', 'Must be left out: a public client does not authenticate')
}

function readUris(path: string, uris: readonly string[]): string[] {
  for (const [at, uri] of uris.entries()) {
    const fault = findRedirectUriFault(uri, 'admin')
    if (fault !== null) failField(`${path}/${at}`, fault)
  }
  return [...new Set(uris)]
}

/** The keys of a client, or where they are: naming one takes the place of the other. */
function readKeys({ jwks, jwks_uri: uri }: OAuthClientPatch): ClientChange {
  if (jwks && uri) failField('/jwks_uri', 'Must be left out where jwks is given')
  if (uri) {
    // It is fetched like a metadata document: what the fetch would refuse is no place of keys.
    if ('fault' in readDocumentUrl(uri))
      failField(
        '/jwks_uri',
        'Must be an https URL of a public host with a path, without a user name, port, query and fragment',
      )
    return { jwksUri: uri, jwks: null }
  }
  if (jwks)
    return { jwks: { keys: jwks.keys.map((key, at) => readKey(`/jwks/keys/${at}`, key)) }, jwksUri: null }
  return { ...(jwks === null && { jwks: null }), ...(uri === null && { jwksUri: null }) }
}

/** The members of a public key that are stored. @throws Problem validation_failed */
function readKey(path: string, key: { kty: string }): JWK {
  const members = new Map<string, unknown>(Object.entries(key))
  if (PRIVATE_MEMBERS.some((name) => members.has(name))) failField(path, 'Must be a public key')
  const needed = PUBLIC_MEMBERS.get(key.kty) ?? failField(path, 'Must be a key of kty EC, RSA or OKP')
  const given = MORE_MEMBERS.filter((name) => members.has(name))
  const read = (name: string) => {
    const value = members.get(name)
    if (typeof value === 'string' && value.length <= MAX_MEMBER_LENGTH && MEMBER.test(value)) return value
    return failField(path, `Must be a public key of kty ${key.kty} with ${needed.join(', ')}`)
  }
  return { kty: key.kty, ...Object.fromEntries([...needed, ...given].map((name) => [name, read(name)])) }
}
