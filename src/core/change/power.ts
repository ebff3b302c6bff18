import { fail } from '../../lib/errors.ts'
import type { Role } from '../../lib/model.ts'
import type { Context } from '../context.ts'
import { isAdmin, type Operator, type Principal, readsAll, type UserPrincipal } from '../principal.ts'

/** One thing that bounds what a key, an account or a user may do. */
type Setting<Subject, Value> = {
  /** As JSON holds it. */
  read(subject: Subject): Value
  /** Whether `inner` allows nothing that `outer` does not. */
  isWithin(inner: Value, outer: Value): boolean
  /** false: nobody is kept from raising it again. */
  isLockable: boolean
}

/** Declares a setting; `Value` follows from `read`. */
export const setting = <Subject, Value>(
  read: (subject: Subject) => Value,
  isWithin: (inner: Value, outer: Value) => boolean,
  { isLockable = true } = {},
): Setting<Subject, unknown> => ({
  read,
  isWithin: isWithin as (a: unknown, b: unknown) => boolean,
  isLockable,
})

/** For a list of scopes, and for whether something is active: the same wherever they bound anything. */
export const areScopesWithin = (inner: readonly string[], outer: readonly string[]): boolean =>
  inner.every((scope) => outer.includes(scope))
export const isActiveWithin = (inner: boolean, outer: boolean): boolean => !inner || outer

/** All that bounds a kind of subject, by the name that requests use. */
export type Settings<Subject> = Readonly<Record<string, Setting<Subject, unknown>>>

/** Values that settings had before an admin lowered them, by name. */
export type LockedSettings = Readonly<Record<string, unknown>>

/**
 * The settings by which a subject may do more after a change, live longer or act again; all of them where it is new.
 * Whoever makes such a change needs the power to grant what the subject then holds, whatever the route is called.
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
 * What is locked after a change. What an admin or support lowers of somebody else's is locked with its value from before;
 * only an admin raises it, and the lock is gone once it is back at that value.
 * @param by whether an admin makes the change, whether what it lowers is locked, and whether it is the caller's own
 * @throws Problem forbidden where anybody but an admin raises what is locked
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
export const lowersAs = (caller: Principal | Operator) => ({
  isAdmin: isByAdmin(caller),
  isLocking: readsAll(caller),
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
 * Admins are administered by admins alone.
 * @throws Problem forbidden where the role is admin, and the caller is neither an admin nor the operator
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
