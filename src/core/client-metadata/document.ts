import type { JWK } from 'jose'
import { type DeclaredApp, type Metadata, readDeclared } from '../clients/declared.ts'
import { readPublicKeys } from '../clients/public-keys.ts'
import { readDocumentUrl } from './url.ts'

/** What a metadata document says of its app. `jwksUri`: where its keys are; null: it is a public client. */
export type DocumentApp = DeclaredApp & { jwksUri: URL | null }

/**
 * Reads a metadata document (oauth.md, section 3, rule 4d).
 * @param url where it was found, which it must name as its `client_id`
 * @returns the app, or a sentence that says why it is refused
 */
export function readDocument(json: unknown, url: URL): DocumentApp | { fault: string } {
  if (!isObject(json)) return { fault: 'The document is no JSON object.' }
  if (json.client_id !== url.href) return { fault: 'The document names another client_id.' }
  if (hasSharedSecret(json)) return { fault: 'The document has a secret in it.' }
  const keys = readKeyPlace(json, url)
  if ('fault' in keys) return keys
  const app = readDeclared(json, true)
  return 'fault' in app ? { fault: app.fault } : { ...app, ...keys }
}

function hasSharedSecret({ client_secret: secret, client_secret_expires_at: end, jwks }: Metadata): boolean {
  return secret !== undefined || end !== undefined || (jwks !== undefined && readPublicKeys(jwks) === null)
}

/** A public client has no key. Any other has its keys on the host of its document. */
function readKeyPlace(
  { token_endpoint_auth_method: method = 'none', jwks_uri: place }: Metadata,
  { hostname }: URL,
): { jwksUri: URL | null } | { fault: string } {
  if (method === 'none') return { jwksUri: null }
  if (method !== 'private_key_jwt')
    return { fault: 'Its token_endpoint_auth_method must be none or private_key_jwt.' }
  const read = typeof place === 'string' ? readDocumentUrl(place) : null
  if (read === null || 'fault' in read || read.url.hostname !== hostname)
    return { fault: 'With private_key_jwt, its jwks_uri must be a URL on the same host.' }
  return { jwksUri: read.url }
}

/** Reads the keys that a `jwks_uri` answered. */
export function readKeySet(json: unknown): { keys: JWK[] } | { fault: string } {
  const jwks = readPublicKeys(json)
  return jwks ?? { fault: 'Its jwks_uri answers no set of public keys.' }
}

const isObject = (json: unknown): json is Metadata =>
  typeof json === 'object' && json !== null && !Array.isArray(json)
