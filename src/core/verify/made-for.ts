import type { Holder } from '../principal.ts'

/**
 * Whether a credential may be used at a service that protects a resource; null: that protects none. A token passes only
 * where it was made for; a key itself, and a service account's token, pass everywhere.
 */
export function isMadeFor(principal: Holder, identifier: string | null): boolean {
  switch (principal.kind) {
    case 'user':
      return identifier === null
    case 'key':
      return principal.resource === null || principal.resource.identifier === identifier
    case 'client':
      return principal.resource.audience !== 'userinfo' && principal.resource.identifier === identifier
  }
}
