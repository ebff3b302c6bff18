import { ownerOf } from '../../core/owners.ts'
import type { Holder } from '../../core/principal.ts'

/**
 * The headers that tell a service behind a proxy who is calling. Every recipe in `deploy/` passes on all of them, and
 * removes what the client sent under these names.
 */
export const IDENTITY_HEADERS = [
  'X-Auth-Type',
  'X-Auth-Client-Id',
  'X-Auth-Subject',
  'X-Auth-User-Id',
  'X-Auth-User-Email',
  'X-Auth-Role',
  'X-Auth-Key-Id',
  'X-Auth-Key-Name',
  'X-Auth-Service-Account-Id',
  'X-Auth-External-Id',
  'X-Auth-Scopes',
  'X-Auth-Amr',
] as const

/** A value for each header, empty where it does not apply. A proxy could keep a missing header as the client sent it. */
export type Identity = Record<(typeof IDENTITY_HEADERS)[number], string>

/**
 * A principal in headers. A key and an app have no role: otherwise a service would treat the key of an admin as an admin
 * (docs/decisions/0012).
 */
export function identityOf(principal: Holder): Identity {
  const owner = ownerOf(principal)
  const holder = principal.kind === 'user' ? principal : principal.owner
  return {
    'X-Auth-Type': principal.kind,
    'X-Auth-Client-Id': principal.kind === 'client' ? encodeText(principal.client.clientId) : '',
    'X-Auth-Subject': owner.id,
    'X-Auth-User-Id': owner.type === 'user' ? owner.id : '',
    'X-Auth-User-Email': 'email' in holder && holder.emailVerified ? encodeText(holder.email) : '',
    'X-Auth-Role': principal.kind === 'user' ? principal.role : '',
    'X-Auth-Key-Id': principal.kind === 'key' ? principal.keyId : '',
    'X-Auth-Key-Name': principal.kind === 'key' ? encodeText(principal.name ?? '') : '',
    'X-Auth-Service-Account-Id': owner.type === 'service_account' ? owner.id : '',
    'X-Auth-External-Id': principal.kind === 'key' ? encodeText(principal.externalId ?? '') : '',
    'X-Auth-Scopes': principal.scopes.join(' '),
    'X-Auth-Amr': principal.kind === 'key' ? '' : principal.amr.join(' '),
  }
}

/** Keeps visible ASCII, and percent-encodes the rest and `%` in UTF-8. `decodeURIComponent` gives the text back. */
function encodeText(text: string): string {
  return text.replace(/[^!-$&-~]+/g, (part) => encodeURIComponent(part.toWellFormed()))
}
