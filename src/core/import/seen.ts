import type { KnownKey, KnownUser } from './queries.ts'
import type { Tell } from './report.ts'

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
