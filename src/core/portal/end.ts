import { fail } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import { type Origin, partiesOf } from '../audit/audit.ts'
import { type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { type Owner, ownerOfRow } from '../owners.ts'
import { type Holder, isAdmin, type PortalPrincipal } from '../principal.ts'
import { findPortalSession, type PortalSessionRow, updateEnded, updateEndedOfManager } from './queries.ts'

/**
 * Ends a portal session for its maker, or for an admin. Ending it again changes nothing.
 * @throws Problem not_found, also for anybody else's
 */
export async function endPortalSession(
  context: Context,
  origin: Origin,
  caller: Holder,
  id: string,
): Promise<void> {
  const found = isId(id) ? await findPortalSession(context.db, id) : null
  if (!found || !mayEnd(caller, found)) fail('not_found')
  const owner = ownerOfRow(found)
  await recordChange(context, origin, caller, locksOf(owner, id), async (change) => {
    const { tx, held, now, record } = change
    const session = held.portalSessions.get(id)
    if (!session || !mayEnd(change.caller, session)) fail('not_found')
    if (session.endedAt !== null || session.expiresAt <= now) return
    await updateEnded(tx, id, now)
    const maker =
      session.madeByKey === null
        ? { type: 'user', id: session.madeByUser }
        : { type: 'key', id: session.madeByKey }
    const target = { type: 'portal_session', id } as const
    await record({ action: 'portal.session_ended', target, details: { maker, owner } })
  })
}

/** Ends the portal session that calls. */
export async function endOwnPortalSession(
  context: Context,
  origin: Origin,
  caller: PortalPrincipal,
): Promise<void> {
  const { sessionId: id, owner } = caller
  await recordChange(context, origin, caller, locksOf(owner, id), async ({ tx, now, record }) => {
    await updateEnded(tx, id, now)
    const target = { type: 'portal_session', id } as const
    await record({ action: 'portal.session_ended', target, details: partiesOf(caller) })
  })
}

/**
 * Ends the portal sessions that a manager's keys made for an account, as part of the change that removes the manager. Without
 * this, customers would go on making keys of the account in sessions that the manager could not make now.
 */
export async function endSessionsOfManager(
  { tx, now, record }: Pick<Change<Holder>, 'tx' | 'now' | 'record'>,
  accountId: string,
  manager: Owner,
): Promise<void> {
  const owner = { type: 'service_account' as const, id: accountId }
  const ended = await updateEndedOfManager(tx, accountId, manager, now)
  await record(
    ended.map(({ id, madeByKey }) => ({
      action: 'portal.session_ended',
      target: { type: 'portal_session', id },
      details: { maker: { type: 'key', id: madeByKey }, owner },
    })),
  )
}

/** With the owner's row, whose wait queue the changes of the session share: no stream of them delays its end. */
const locksOf = ({ type, id }: Owner, sessionId: string): Lock[] => [
  [type === 'user' ? 'users' : 'serviceAccounts', id, 'no key update'],
  ['portalSessions', sessionId, 'no key update'],
]

const mayEnd = (caller: Holder, { madeByUser, madeByKey }: PortalSessionRow): boolean =>
  isAdmin(caller) ||
  (caller.kind === 'user' && madeByUser === caller.userId) ||
  (caller.kind === 'key' && madeByKey === caller.keyId)
