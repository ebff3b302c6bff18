import type { Role } from '../users/service.ts'
import type { Tell } from './report.ts'

/** A user as far as an import asks. */
export type KnownUser = { id: string; email: string; role: Role; scopes: string[] | null }

/** A key that is here, or comes in, and whose. */
export type KnownKey = { keyId: string; ownerId: string | null }

/** What has been decided to come in, and stands against what follows. */
export type Seen = {
  usersByEmail: Map<string, KnownUser>
  usersById: Map<string, KnownUser>
  /** By the hash of the secret, in hex. */
  keysByHash: Map<string, KnownKey>
  keysById: Map<string, KnownKey>
}

export const nothingSeen = (): Seen => ({
  usersByEmail: new Map(),
  usersById: new Map(),
  keysByHash: new Map(),
  keysById: new Map(),
})

/**
 * A dry run: what is given it writes nothing, and remembers from one chunk to the next what would have been written, so
 * that what follows is judged as it would be.
 */
export type Trial = Seen

/** @returns null where it is none */
export function newTrial(isTrial: boolean, tell: Tell): Trial | null {
  if (!isTrial) return null
  tell('dry run: nothing is written')
  return nothingSeen()
}
