import { failField } from './errors.ts'
import type { Role } from './model.ts'

const SCOPE = /^[a-z0-9][a-z0-9._-]*(:[a-z0-9][a-z0-9._-]*)*$/
const MAX_SCOPE_LENGTH = 64
/** Of a key, a service account or a user. */
export const MAX_SCOPES = 50

/** Latchkey's own scopes: reserved, except the two that every user may hand out. */
export const RESERVED_PREFIX = 'latchkey:'
export const KEYS_READ = 'latchkey:keys.read'
export const KEYS_WRITE = 'latchkey:keys.write'
export const USERS_READ = 'latchkey:users.read'
export const USERS_WRITE = 'latchkey:users.write'
export const AUDIT_READ = 'latchkey:audit.read'
export const VERIFY = 'latchkey:verify'
export const INTROSPECT = 'latchkey:introspect'
export const SERVICE_ACCOUNTS_READ = 'latchkey:service-accounts.read'
export const SERVICE_ACCOUNTS_WRITE = 'latchkey:service-accounts.write'

const SCOPE_FAULT =
  'Must be lower-case letters, digits, ".", "_", "-", in parts joined by ":", of at most 64 characters'

const isScope = (text: string) => text.length <= MAX_SCOPE_LENGTH && SCOPE.test(text)

/**
 * Scopes in any of their four spellings (`"read"`, `"read,write"`, `"read write"`, `["read","write"]`) as a list
 * without repetitions; null, absent and empty mean none. Returns a sentence where one is malformed.
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
 * The same for a member of a request.
 * @throws Problem validation_failed at `path`, or at the item of a list that is no scope
 */
export function requireScopes(path: string, input: string | readonly string[] | null | undefined): string[] {
  const scopes = parseScopes(input)
  if (!('fault' in scopes)) return scopes
  const at = typeof input === 'string' ? -1 : (input ?? []).findIndex((scope) => !isScope(scope))
  return at === -1 ? failField(path, scopes.fault) : failField(`${path}/${at}`, SCOPE_FAULT)
}

/** What an owner may hold or hand out: everything, or a list; `reserved` says whether `latchkey:*` is part of "everything". */
export type Ceiling = { everything: boolean; reserved: boolean; scopes: readonly string[] }

/** Whether the ceiling covers a scope. Compared exactly: there are no wildcards. */
export function covers(ceiling: Ceiling, scope: string): boolean {
  if (ceiling.scopes.includes(scope)) return true
  return ceiling.everything && (ceiling.reserved || !scope.startsWith(RESERVED_PREFIX))
}

/** USER_SCOPES: what users hold who have no list of their own. */
type UserScopes = 'any' | readonly string[]

/** The scopes that a user's access token names: their own list, or USER_SCOPES; none by name where these are `any`. */
export function scopesOfUser(
  user: { scopes: readonly string[] | null },
  userScopes: UserScopes,
): readonly string[] {
  return user.scopes ?? (userScopes === 'any' ? [] : userScopes)
}

/** The ceiling of a user: admins are not limited, the others have their own list or USER_SCOPES, and may always manage keys. */
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

/** The ceiling of anything that has a fixed list: a service account, or a key that makes keys. */
export function ceilingOfList(scopes: readonly string[]): Ceiling {
  return { everything: false, reserved: false, scopes }
}
