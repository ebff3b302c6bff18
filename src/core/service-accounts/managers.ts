import { covers, isReserved } from '../../lib/scopes.ts'
import type { HeldRows, Lock, LockMode } from '../change/record-change.ts'
import { isSameOwner, type Owner, ownerOf } from '../owners.ts'
import { type Delegate, type Holder, isAdmin, type Operator } from '../principal.ts'
import { type ManagerRow, managerOf, type WholeAccount } from './queries.ts'

export type { WholeAccount }

/** Who changes accounts: the holder of a credential, or a person at the command line. */
export type AccountCaller = Holder | Operator

/**
 * Whether a caller manages an account. An admin and the operator manage all, a person the accounts of which the person is a manager, and a
 * key those that its owner manages, unless the account holds a `latchkey:*` scope that the key lacks.
 * @param account with its managers as they are now: within a change, those that are locked
 */
export function manages(caller: AccountCaller, account: Pick<WholeAccount, 'scopes' | 'managers'>): boolean {
  if (caller.kind === 'operator' || isAdmin(caller)) return true
  if (!isManager(caller, account)) return false
  return caller.kind === 'user' || isWithinKey(caller, account.scopes)
}

/** Whether the caller, or the owner of the key that calls, is one of the managers of an account. */
export function isManager(caller: Holder, { managers }: Pick<WholeAccount, 'managers'>): boolean {
  const owner = ownerOf(caller)
  return managers.some((manager) => isSameOwner(manager, owner))
}

/**
 * Whether the caller is the only manager of an account. What an admin lowers is locked unless this holds: that an admin is
 * one of several managers says little, since any of the others may have added the admin.
 */
export const managesAlone = (caller: AccountCaller, account: Pick<WholeAccount, 'managers'>): boolean =>
  caller.kind !== 'operator' && account.managers.length === 1 && isManager(caller, account)

/** Whether a key holds every scope of Latchkey's own API among these. */
const isWithinKey = ({ grants }: Pick<Delegate, 'grants'>, scopes: readonly string[]) =>
  scopes.every((scope) => !isReserved(scope) || covers(grants, scope))

/** The locks under which a change of an account decides who manages it. */
export const locksOfAccount = (id: string, mode: LockMode): Lock[] => [
  ['serviceAccounts', id, mode],
  ['managersOfAccount', id, 'share'],
]

/** A locked account with its locked managers; undefined: it does not exist. */
export function heldAccount(held: HeldRows, id: string): WholeAccount | undefined {
  const account = held.serviceAccounts.get(id)
  return account && { ...account, managers: managersIn(held, id) }
}

const managersIn = ({ managers }: HeldRows, id: string): Owner[] =>
  [...managers.values()].filter((row: ManagerRow) => row.serviceAccountId === id).map(managerOf)
