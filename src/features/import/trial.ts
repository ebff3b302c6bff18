import type { Role } from '../users/service.ts'
import type { Tell } from './report.ts'

/** A user as far as an import asks. */
export type KnownUser = { id: string; email: string; role: Role; scopes: string[] | null }

/** What a dry run would have written by now, so that what follows is judged as it would be. */
export type Trial = {
  usersByEmail: Map<string, KnownUser>
  usersById: Map<string, KnownUser>
  /** By the hash of the secret, in hex. */
  keysByHash: Map<string, { keyId: string; ownerId: string }>
  keysById: Map<string, { ownerId: string }>
}

/** A dry run: the imports that are given it write nothing. */
export function newTrial(tell: Tell): Trial {
  tell('dry run: nothing is written')
  return { usersByEmail: new Map(), usersById: new Map(), keysByHash: new Map(), keysById: new Map() }
}
