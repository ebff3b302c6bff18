import { fail, failField } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import type { Origin } from '../audit/audit.ts'
import { isByAdmin } from '../change/power.ts'
import { type Change, changedMeanwhile, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { isSameOwner, type Owner } from '../owners.ts'
import { endSessionsOfManager } from '../portal/end.ts'
import { findUserByEmail, findUserById } from '../users/accounts.ts'
import { normaliseEmail } from '../users/email.ts'
import { requireGrants } from '../verify/problems.ts'
import { type AccountCaller, heldAccount, manages, type WholeAccount } from './managers.ts'
import type { NewManager } from './model.ts'
import { deleteManager, findServiceAccount, insertManager, managerColumns } from './queries.ts'
import { requireAccountQuota, requireManagedAccount, requireUnbounded } from './service-accounts.ts'

const MAX_MANAGERS = 20

/**
 * Adds a manager to an account; one who is there already changes nothing. A manager does with the account what the caller
 * may do, so the caller needs the power to grant all that the account holds.
 * @throws Problem not_found, insufficient_scope, forbidden for a key that is limited, conflict beyond 20, quota_exceeded
 */
export async function addManager(
  context: Context,
  origin: Origin,
  caller: AccountCaller,
  id: string,
  input: NewManager,
): Promise<void> {
  const account = await requireManagedAccount(context, caller, id)
  const { manager, email } = await readManager(context, input)
  const isCounted = account.countsFor === manager.id
  const locks: Lock[] = [
    ['serviceAccounts', id, 'no key update'],
    ['managersOfAccount', id, 'share'],
    manager.type === 'user'
      ? ['users', manager.id, isCounted ? 'no key update' : 'share']
      : ['serviceAccounts', manager.id, 'share'],
  ]
  const rowId = newId()
  await recordChange(context, origin, caller, locks, async (change) => {
    const { tx, held, caller, now, record } = change
    const account = requireHeldAccount(change, id)
    requireManager(change, manager, email)
    if (account.managers.some((present) => isSameOwner(present, manager))) return
    requireUnbounded(caller)
    requireGrants(caller, account.scopes)
    if (account.managers.length >= MAX_MANAGERS)
      fail('conflict', {
        detail: `A service account has at most ${MAX_MANAGERS} managers: remove one first.`,
      })
    if ((held.serviceAccounts.get(id)?.countsFor === manager.id) !== isCounted) throw changedMeanwhile()
    // An account that no user manages counts for its maker already.
    if (isCounted && account.managers.some(({ type }) => type === 'user'))
      await requireAccountQuota(context, tx, manager.id)
    await insertManager(tx, {
      id: rowId,
      serviceAccountId: id,
      ...managerColumns(manager),
      createdAt: now,
    })
    const target = { type: 'service_account' as const, id }
    await record({ action: 'service_account.manager_added', target, details: { manager } })
  })
}

/**
 * Removes a manager from an account; where it does not have this manager, nothing changes.
 * @throws Problem not_found, conflict for the last manager, whom admins remove
 */
export async function removeManager(
  context: Context,
  origin: Origin,
  caller: AccountCaller,
  id: string,
  managerId: string,
): Promise<void> {
  await requireManagedAccount(context, caller, id)
  if (!isId(managerId)) fail('not_found')
  const locks: Lock[] = [
    ['serviceAccounts', id, 'no key update'],
    ['managersOfAccount', id, 'update'],
    ['portalSessionsOfAccount', id, 'no key update'],
  ]
  await recordChange(context, origin, caller, locks, async (change) => {
    const { managers } = requireHeldAccount(change, id)
    const manager = managers.find((each) => each.id === managerId)
    if (!manager) return
    if (managers.length === 1 && !isByAdmin(change.caller))
      fail('conflict', { detail: 'This is the last manager: add another one first, or ask an admin.' })
    await deleteManager(change.tx, id, manager)
    const target = { type: 'service_account' as const, id }
    await change.record({ action: 'service_account.manager_removed', target, details: { manager } })
    await endSessionsOfManager(change, id, manager)
  })
}

/**
 * The locked account, of which the caller is a manager, or an admin.
 * @throws Problem not_found
 */
function requireHeldAccount({ held, caller }: Change<AccountCaller>, id: string): WholeAccount {
  const account = heldAccount(held, id)
  return account && manages(caller, account) ? account : fail('not_found')
}

/** Whom a request names; `email`: by this address. */
type Named = { manager: Owner; email: string | null }

/** @throws Problem validation_failed, not_found */
async function readManager({ db }: Context, input: NewManager): Promise<Named> {
  const { user_id: userId, service_account_id: accountId, email: address } = input
  if ([userId, accountId, address].filter((each) => each !== undefined).length !== 1)
    failField('', 'Give exactly one of user_id, email and service_account_id')
  if (accountId !== undefined) {
    const account = isId(accountId) ? await findServiceAccount(db, accountId) : null
    return { manager: { type: 'service_account', id: (account ?? fail('not_found')).id }, email: null }
  }
  const email =
    address === undefined
      ? null
      : (normaliseEmail(address) ?? failField('/email', 'Must be an e-mail address'))
  const byId = isId(userId ?? '') ? userId : undefined
  const user = email !== null ? await findUserByEmail(db, email) : byId ? await findUserById(db, byId) : null
  return { manager: { type: 'user', id: (user ?? fail('not_found')).id }, email }
}

/**
 * Whether the locked manager is still there. An address must be verified, and its user active: an address that somebody
 * else signed up with gives nothing away.
 * @throws Problem not_found
 */
function requireManager({ held }: Change<AccountCaller>, { type, id }: Owner, email: string | null): void {
  if (type === 'service_account') {
    if (!held.serviceAccounts.has(id)) fail('not_found')
    return
  }
  const user = held.users.get(id) ?? fail('not_found')
  if (email !== null && !(user.email === email && user.emailVerified && user.isActive)) fail('not_found')
}
