import { failField } from './errors.ts'
import type { Role } from './model.ts'

const SCOPE = /^[a-z0-9][a-z0-9._-]*(:[a-z0-9][a-z0-9._-]*)*$/
const MAX_SCOPE_LENGTH = 64
/** The maximum number of scopes of one key, service account or user. */
export const MAX_SCOPES = 50

/**
 * The prefix of Latchkey's own scopes. Only an admin grants them, except KEYS_READ and KEYS_WRITE, which
 * every user may grant.
 */
export const RESERVED_PREFIX = 'latchkey:'
export const isReserved = (scope: string): boolean => scope.startsWith(RESERVED_PREFIX)
export const KEYS_READ = 'latchkey:keys.read'
export const KEYS_WRITE = 'latchkey:keys.write'
/** Sets `external_id` and `metadata` of the keys that the caller reaches. Services that verify a key trust these two. */
export const KEYS_LABEL = 'latchkey:keys.label'
export const USERS_READ = 'latchkey:users.read'
export const USERS_WRITE = 'latchkey:users.write'
export const AUDIT_READ = 'latchkey:audit.read'
export const VERIFY = 'latchkey:verify'
export const INTROSPECT = 'latchkey:introspect'
export const SERVICE_ACCOUNTS_READ = 'latchkey:service-accounts.read'
export const SERVICE_ACCOUNTS_WRITE = 'latchkey:service-accounts.write'
/** Makes portal sessions for the service accounts that the key's owner manages. */
export const PORTAL = 'latchkey:portal'
/** Reads what admins read, and may disable, revoke and end, but never what is an admin's. */
export const SUPPORT = 'latchkey:support'
/** Asks home the questions of a verifier in a region, and reports its usage. */
export const REGION = 'latchkey:region'

const SCOPE_FAULT =
  'Must be lower-case letters, digits, ".", "_", "-", in parts joined by ":", of at most 64 characters'

const isScope = (text: string) => text.length <= MAX_SCOPE_LENGTH && SCOPE.test(text)

/**
 * Parses scopes in any of their four spellings (`"read"`, `"read,write"`, `"read write"`,
 * `["read","write"]`).
 * @param input null, undefined and empty mean no scopes
 * @returns a list without repetitions, or a sentence that says what is wrong
 */
export function parseScopes(
  input: string | readonly string[] | null | undefined,
): string[] | { fault: string } {
  const parts =
    typeof input === 'string' ? input.split(/[\s,]+/).filter((part) => part !== '') : (input ?? [])
  const scopes = [...new Set(parts)]
  if (scopes.length > MAX_SCOPES) return { fault: `Must be at most ${MAX_SCOPES} scopes` }
  return scopes.every(isScope) ? scopes : { fault: `Each scope: ${SCOPE_FAULT}` }
}

/**
 * Parses the scopes of a request's member.
 * @param path the member's JSON pointer
 * @throws Problem validation_failed at `path`, or at the list item that is not a valid scope
 */
export function requireScopes(path: string, input: string | readonly string[] | null | undefined): string[] {
  const scopes = parseScopes(input)
  if (!('fault' in scopes)) return scopes
  const at = typeof input === 'string' ? -1 : (input ?? []).findIndex((scope) => !isScope(scope))
  return at === -1 ? failField(path, scopes.fault) : failField(`${path}/${at}`, SCOPE_FAULT)
}

/**
 * The most that an owner may hold or grant. `everything`: all scopes; `reserved`: whether these include
 * `latchkey:*`.
 */
export type Ceiling = { everything: boolean; reserved: boolean; scopes: readonly string[] }

/** Whether the ceiling contains the scope. Scopes are compared exactly; there are no wildcards. */
export function covers(ceiling: Ceiling, scope: string): boolean {
  if (ceiling.scopes.includes(scope)) return true
  return ceiling.everything && (ceiling.reserved || !isReserved(scope))
}

/** The setting USER_SCOPES: the scopes of users who have no list of their own. */
type UserScopes = 'any' | readonly string[]

/**
 * The scopes that a user's access token names: the user's own list, else USER_SCOPES. With USER_SCOPES `any`
 * it names none.
 */
export function scopesOfUser(
  user: { scopes: readonly string[] | null },
  userScopes: UserScopes,
): readonly string[] {
  return user.scopes ?? (userScopes === 'any' ? [] : userScopes)
}

/**
 * The ceiling of a user. An admin has no ceiling. Other users have their own list or USER_SCOPES. Every user
 * may manage keys.
 */
export function ceilingOfUser(
  user: { role: Role; scopes: readonly string[] | null },
  userScopes: UserScopes,
): Ceiling {
  return {
    everything: user.role === 'admin' || (user.scopes === null && userScopes === 'any'),
    reserved: user.role === 'admin',
    scopes: [...scopesOfUser(user, userScopes), KEYS_READ, KEYS_WRITE],
  }
}

/** The ceiling of a caller with a fixed list of scopes: a service account, or a key that creates keys. */
export function ceilingOfList(scopes: readonly string[]): Ceiling {
  return { everything: false, reserved: false, scopes }
}
