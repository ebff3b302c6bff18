import { fail, failField } from '../../lib/errors.ts'
import { readExternalId } from '../../lib/external-id.ts'
import { isId } from '../../lib/ids.ts'
import type { Change, Lock } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { Owner } from '../owners.ts'
import { type AdminPrincipal, isAdmin, type KeyPrincipal } from '../principal.ts'
import { heldAccount, locksOfAccount, manages } from '../service-accounts/managers.ts'
import { findAccountByExternalId } from '../service-accounts/service-accounts.ts'
import type { NewPortalSession } from './model.ts'

/** Who may make a portal session. */
export type PortalMaker = AdminPrincipal | KeyPrincipal

/**
 * The owner that a request names. Whether the owner exists and is within the caller's reach, `requireOwner` decides.
 * @throws Problem validation_failed unless exactly one is named, forbidden where a key names a user, not_found
 */
export async function readOwner(
  { db }: Pick<Context, 'db'>,
  caller: PortalMaker,
  input: NewPortalSession,
): Promise<Owner> {
  const { user_id: userId, service_account_id: accountId, external_id: externalId } = input
  if ([userId, accountId, externalId].filter((value) => value !== undefined).length !== 1)
    failField('', 'Give exactly one of user_id, service_account_id and external_id')
  if (userId !== undefined && !isAdmin(caller))
    fail('forbidden', { detail: "Only an admin's own access token makes a session for a user." })
  const named = externalId === undefined ? null : readExternalId('/external_id', externalId)
  const id = userId ?? accountId ?? (named === null ? '' : (await findAccountByExternalId(db, named))?.id)
  if (id === undefined || !isId(id)) fail('not_found')
  return { type: userId === undefined ? 'service_account' : 'user', id }
}

/** The locks of a new session's owner: of an account also who manages it. */
export const locksOfShown = ({ type, id }: Owner): Lock[] =>
  type === 'user' ? [['users', id, 'share']] : locksOfAccount(id, 'share')

/**
 * Checks the locked owner of a new session: a service account that the caller manages, or a user who is no admin.
 * @throws Problem not_found, forbidden for an admin, conflict where the owner is disabled
 */
export function requireOwner(
  { caller, held }: Pick<Change<PortalMaker>, 'caller' | 'held'>,
  owner: Owner,
): void {
  if (owner.type === 'user') {
    const user = held.users.get(owner.id)
    if (!user || !isAdmin(caller)) fail('not_found')
    if (user.role === 'admin') fail('forbidden', { detail: 'No portal session is made for an admin.' })
    requireActive(user)
    return
  }
  const account = heldAccount(held, owner.id)
  if (!account || !manages(caller, account)) fail('not_found')
  requireActive(account)
}

function requireActive({ isActive }: { isActive: boolean }): void {
  if (!isActive) fail('conflict', { detail: 'The owner is disabled.' })
}
