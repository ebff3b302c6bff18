import { isDeepStrictEqual } from 'node:util'
import type { ClientPrincipal, KeyPrincipal, Principal, UserPrincipal } from '../principal.ts'

/** A verified credential in the cache. A use changes `isUsed` alone. */
export type Entry = { readonly hash: string; principal: Principal; validUntilMs: number; isUsed: boolean }

/** The entries of the cache, by hash and by the rows on which they depend. */
export type Entries = {
  get(hash: string): Entry | undefined
  add(hash: string, principal: Principal, validUntilMs: number): void
  /** Deletes every entry that depends on the row with this id, of whichever table: ids differ between tables too. */
  deleteOf(id: string): void
  clear(): void
  size(): number
}

/** The number of used entries that get a second chance for one new entry. Bounds the work of a miss. */
const MAX_LOOKED_AT = 32

/** The number of different lists of scopes that are kept for sharing. */
const MAX_SCOPE_LISTS = 10_000

/**
 * Makes room by second chance: the oldest entry goes, unless it was used since it was last looked at, which makes it the
 * newest. So a use moves nothing, as it would in a list by last use (docs/decisions/0045).
 */
export function createEntries(max: number): Entries {
  const byHash = new Map<string, Entry>()
  /** The entries by the ids of their rows. One entry stands without a set, which would cost more than the entry. */
  const byRow = new Map<string, Entry | Set<Entry>>()
  const scopeLists = new Map<string, Pick<KeyPrincipal, 'scopes' | 'grants'>>()

  const link = (id: string, entry: Entry) => {
    const known = byRow.get(id)
    if (known === undefined) byRow.set(id, entry)
    else if (known instanceof Set) known.add(entry)
    else byRow.set(id, new Set([known, entry]))
  }
  const unlink = (id: string, entry: Entry) => {
    const known = byRow.get(id)
    if (known === entry) byRow.delete(id)
    else if (known instanceof Set && known.delete(entry) && known.size === 0) byRow.delete(id)
  }
  const remove = (entry: Entry) => {
    byHash.delete(entry.hash)
    for (const id of rowsOf(entry.principal)) unlink(id, entry)
  }
  const makeRoom = () => {
    let looked = 0
    for (const entry of byHash.values()) {
      looked += 1
      if (!entry.isUsed || looked > MAX_LOOKED_AT) return remove(entry)
      entry.isUsed = false
      byHash.delete(entry.hash)
      byHash.set(entry.hash, entry)
    }
  }
  /** An owner's entries share its object. They are evicted together, so that it cannot differ between them. */
  const shareOwner = (principal: KeyPrincipal) => {
    const known = byRow.get(principal.owner.id)
    const other = known instanceof Set ? known.values().next().value : known
    if (other?.principal.kind === 'key' && isDeepStrictEqual(other.principal.owner, principal.owner))
      principal.owner = other.principal.owner
  }
  /** Keys with the same scopes share the list: a key's grants are its scopes. */
  const shareScopes = (principal: KeyPrincipal) => {
    const text = principal.scopes.join(' ')
    const known = scopeLists.get(text)
    if (known === undefined) {
      if (scopeLists.size >= MAX_SCOPE_LISTS) scopeLists.clear()
      const { scopes, grants } = principal
      scopeLists.set(text, { scopes, grants })
    } else {
      principal.scopes = known.scopes
      principal.grants = known.grants
    }
  }

  return {
    get: (hash) => byHash.get(hash),
    size: () => byHash.size,
    add(hash, principal, validUntilMs) {
      const before = byHash.get(hash)
      if (before) remove(before)
      else if (byHash.size >= max) makeRoom()
      if (principal.kind === 'key') {
        shareOwner(principal)
        shareScopes(principal)
      }
      const entry = { hash, principal, validUntilMs, isUsed: false }
      byHash.set(hash, entry)
      for (const id of rowsOf(principal)) link(id, entry)
    },
    deleteOf(id) {
      const known = byRow.get(id)
      if (known instanceof Set) for (const entry of [...known]) remove(entry)
      else if (known) remove(known)
    },
    clear() {
      byHash.clear()
      byRow.clear()
    },
  }
}

/** The ids of the rows whose change ends what was verified: each is the subject of an eviction (db/eviction.ts). */
function rowsOf(principal: Principal): string[] {
  if (principal.kind === 'portal') {
    const { sessionId, owner, maker } = principal
    return [sessionId, owner.id, maker.id, ...(maker.type === 'key' ? [maker.owner.id] : [])]
  }
  const { claims } = principal
  const ids =
    principal.kind !== 'key'
      ? [principal.sessionId, principal.userId, ...rowsOfClient(principal)]
      : [
          principal.keyId,
          principal.owner.id,
          ...(principal.rateRoot ? [principal.rateRoot.keyId] : []),
          ...(claims ? [claims.tokenId] : []),
          ...(principal.resource?.id ? [principal.resource.id] : []),
        ]
  if (claims?.keyId) ids.push(claims.keyId)
  return ids
}

function rowsOfClient(principal: UserPrincipal | ClientPrincipal): string[] {
  if (principal.client === null) return []
  const { id, grantId } = principal.client
  const resourceId = principal.kind === 'client' ? principal.resource.id : null
  return resourceId === null ? [id, grantId] : [id, grantId, resourceId]
}
