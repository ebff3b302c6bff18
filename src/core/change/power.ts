import { fail } from '../../lib/errors.ts'
import type { Role } from '../../lib/model.ts'
import type { Context } from '../context.ts'
import { isAdmin, type Operator, type Principal, readsAll, type UserPrincipal } from '../principal.ts'

/** A setting that bounds what a key, an account or a user may do. */
type Setting<Subject, Value> = {
  /** The value, in a form that JSON can store. */
  read(subject: Subject): Value
  /** Whether `inner` allows nothing that `outer` does not allow. */
  isWithin(inner: Value, outer: Value): boolean
  /** false: where an admin lowers the setting, others may raise it again. */
  isLockable: boolean
}

/** Declares a setting; TypeScript infers `Value` from `read`. */
export const setting = <Subject, Value>(
  read: (subject: Subject) => Value,
  isWithin: (inner: Value, outer: Value) => boolean,
  { isLockable = true } = {},
): Setting<Subject, unknown> => ({
  read,
  isWithin: isWithin as (a: unknown, b: unknown) => boolean,
  isLockable,
})

/** Compares lists of scopes. This and `isActiveWithin` are used for every kind of subject. */
export const areScopesWithin = (inner: readonly string[], outer: readonly string[]): boolean =>
  inner.every((scope) => outer.includes(scope))
export const isActiveWithin = (inner: boolean, outer: boolean): boolean => !inner || outer

/** All settings that bound a kind of subject, by their names in requests. */
export type Settings<Subject> = Readonly<Record<string, Setting<Subject, unknown>>>

/** The values that settings had before an admin lowered them, by name. */
export type LockedSettings = Readonly<Record<string, unknown>>

/**
 * The settings by which a change gives a subject more: more power, a longer life, or activity again. For a new subject,
 * all of them. The caller of such a change must be able to grant all that the subject then holds, whatever route makes
 * the change.
 * @param before null: the subject is new
 */
export function findRaised<Subject>(
  settings: Settings<Subject>,
  before: Subject | null,
  after: Subject,
): string[] {
  return Object.entries(settings)
    .filter(([, { read, isWithin }]) => before === null || !isWithin(read(after), read(before)))
    .map(([name]) => name)
}

/**
 * The settings that are locked after a change. Where an admin lowers a setting of another person's subject, the setting
 * is locked with its value from before. Only an admin can raise it again, and the lock ends when the setting is back at
 * that value.
 * @param by whether an admin makes the change, and whether the subject is the caller's own
 * @throws Problem forbidden where a caller who is not an admin raises a locked setting
 */
export function relock<Subject>(
  settings: Settings<Subject>,
  locked: LockedSettings,
  before: Subject,
  after: Subject,
  by: { isAdmin: boolean; isLocking: boolean; isOwn: boolean },
): Record<string, unknown> {
  const next = { ...locked }
  for (const [name, { read, isWithin, isLockable }] of Object.entries(settings)) {
    if (!isLockable) continue
    const [was, is] = [read(before), read(after)]
    const isLocked = Object.hasOwn(locked, name)
    if (isLocked && !by.isAdmin && !isWithin(is, was)) failLocked(name)
    if (isLocked && by.isAdmin && isWithin(locked[name], is)) delete next[name]
    if (!isLocked && by.isLocking && !by.isOwn && !isWithin(was, is)) next[name] = was
  }
  return next
}

export const ADMINS_ONLY = "This takes an admin's own access token."

/** Who lowers or disables something, as `relock` asks; `isOwn` is the subject's to say. */
export const lowersAs = (caller: Principal | Operator | null) => ({
  isAdmin: caller !== null && isByAdmin(caller),
  isLocking: caller !== null && readsAll(caller),
})

/**
 * Support disables, revokes and ends; it changes nothing else.
 * @throws Problem forbidden unless the change does nothing but disable
 */
export function requireDisabling(change: { isActive?: boolean }): void {
  const [name, ...others] = Object.keys(change)
  if (name === 'isActive' && others.length === 0 && change.isActive === false) return
  fail('forbidden', { detail: 'Support disables, revokes and ends sessions, and changes nothing else.' })
}

/** Whether a caller acts with the power of an admin. */
export const isByAdmin = (caller: Principal | Operator): boolean =>
  caller.kind === 'operator' || isAdmin(caller)

/**
 * Only admins administer admins.
 * @throws Problem forbidden where the role is `admin`, and the caller is neither an admin nor the operator
 */
export function requirePowerOver(caller: Principal | Operator, role: Role): void {
  if (role === 'admin' && !isByAdmin(caller)) fail('forbidden', { detail: ADMINS_ONLY })
}

/**
 * Another admin's password, reset, lock and second factors are closed to admins.
 * @param user as their locked row has them
 * @throws Problem forbidden where the user is another admin, unless ADMIN_RESETS_ADMIN; the operator may
 */
export function requirePowerOverAccount(
  { config }: Pick<Context, 'config'>,
  caller: UserPrincipal | Operator,
  user: { id: string; role: Role },
): void {
  if (caller.kind === 'operator' || user.role !== 'admin' || user.id === caller.userId) return
  if (!config.adminResetsAdmin) fail('forbidden', { detail: 'Admins do not do this to another admin.' })
}

function failLocked(name: string): never {
  fail('forbidden', { detail: `An admin lowered "${name}" or switched it off: only an admin restores it.` })
}
