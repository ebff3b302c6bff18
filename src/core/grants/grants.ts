import { fail } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { type Page, type PageQuery, readPage } from '../../lib/page.ts'
import type { Origin } from '../audit/audit.ts'
import {
  type Caller,
  type Change,
  changedMeanwhile,
  type Lock,
  recordChange,
} from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { keysMadeBy } from '../keys/end.ts'
import { endInSteps } from '../keys/steps.ts'
import type { Operator, UserPrincipal } from '../principal.ts'
import { identifierOf } from '../resources/audience.ts'
import { hasUser } from '../sessions/sessions.ts'
import { grantEnded } from './ended.ts'
import type { Grant } from './model.ts'
import {
  deleteGrants,
  endSessionsOfGrant,
  findGrant,
  findNamedGrant,
  type GrantTarget,
  insertGrant,
  type ListedGrant,
  listGrantsOf,
  listNamedGrantsOf,
  updateGrant,
} from './queries.ts'

export { deleteWithGrants, endSessionsOfDisabled } from './end-in-steps.ts'
export { findGrant, type GrantRow, type GrantsOf, updateGrant } from './queries.ts'

/** A page of what a person allowed apps, the newest first. */
export function listGrants(context: Context, userId: string, page: PageQuery): Promise<Page<ListedGrant>> {
  return readPage(context.keys.cursor, `grants ${userId}`, page, (rows) =>
    listGrantsOf(context.db, userId, new Date(context.clock()), rows),
  )
}

/**
 * The same of any user.
 * @throws Problem not_found
 */
export async function listGrantsOfUser(
  context: Context,
  userId: string,
  page: PageQuery,
): Promise<Page<ListedGrant>> {
  if (!isId(userId) || !(await hasUser(context.db, userId))) fail('not_found')
  return listGrants(context, userId, page)
}

/** The host of an app that names itself by a URL; null of any other. */
export const hostOf = ({ clientId, source }: { clientId: string; source: string }): string | null =>
  source === 'metadata' ? (URL.parse(clientId)?.host ?? null) : null

/** What a resource is called that is no row. */
export const nameOfAudience = (
  { config }: Pick<Context, 'config'>,
  audience: ListedGrant['audience'],
): string => (audience === 'userinfo' ? 'Sign-in' : config.brandName)

/** A grant in the form in which the API answers. */
export function presentGrant(context: Context, grant: ListedGrant): Grant {
  const { client, resource } = grant
  return {
    id: grant.id,
    client: {
      client_id: client.clientId,
      name: client.name,
      host: hostOf(client),
      source: client.source,
    },
    resource: {
      identifier: identifierOf(context.config, grant),
      name: resource?.name ?? nameOfAudience(context, grant.audience),
    },
    scopes: grant.scopes,
    first_allowed_at: grant.firstAllowedAt.toISOString(),
    last_allowed_at: grant.lastAllowedAt.toISOString(),
    last_used_at: grant.lastUsedAt?.toISOString() ?? null,
    sessions: grant.sessions,
  }
}

/** What a person allows now. `removed`: what they allowed before, and unticked now. */
export type Allowed = {
  userId: string
  clientId: string
  target: GrantTarget
  scopes: readonly string[]
  removed: readonly string[]
}

/** The lock of what a person allowed a client before. */
export async function locksOfGrant(
  context: Context,
  allowed: Omit<Allowed, 'scopes' | 'removed'>,
): Promise<Lock[]> {
  const grant = await findGrant(context.db, allowed)
  return grant ? [['oauthGrants', grant.id, 'no key update']] : []
}

/**
 * Writes down what a person allows, as part of a change with `locksOfGrant`.
 * @returns the id of the grant
 */
export async function allow(
  { tx, now, held, record }: Pick<Change<Caller>, 'tx' | 'now' | 'held' | 'record'>,
  { userId, clientId, target, scopes, removed }: Allowed,
): Promise<string> {
  const details = { user_id: userId, client_id: clientId, scopes }
  const found = await findGrant(tx, { userId, clientId, target })
  if (!found) {
    const id = newId()
    const grant = {
      id,
      userId,
      clientId,
      audience: target.audience,
      resourceId: target.resource?.id ?? null,
      scopes: [...scopes],
      firstAllowedAt: now,
      lastAllowedAt: now,
    }
    if (!(await insertGrant(tx, grant))) throw changedMeanwhile()
    await record({ action: 'grant.allowed', target: { type: 'grant', id }, details })
    return id
  }
  const grant = held.oauthGrants.get(found.id)
  if (!grant) throw changedMeanwhile()
  const kept = grant.scopes.filter((scope) => !removed.includes(scope))
  const all = [...new Set([...kept, ...scopes])].sort()
  await updateGrant(tx, grant.id, { scopes: all, lastAllowedAt: now })
  if (scopes.some((scope) => !grant.scopes.includes(scope))) {
    const widened = { ...details, before: grant.scopes, after: all }
    await record({ action: 'grant.widened', target: { type: 'grant', id: grant.id }, details: widened })
  }
  return grant.id
}

/**
 * Ends what a person allowed an app, and every session of the app under it, at once.
 * @param userId whose grant it is
 * @param options.created also revokes the keys that the app made, those that these made, and so on
 * @throws Problem not_found
 */
export async function endGrant(
  context: Context,
  origin: Origin,
  caller: UserPrincipal | Operator,
  { userId, id }: { userId: string; id: string },
  { created }: { created: boolean },
): Promise<void> {
  if (!isId(userId) || !isId(id)) fail('not_found')
  const reason = 'grant_ended'
  const step = (limit: number) => {
    const keys = created ? keysMadeBy(context, id, limit) : null
    const locks = async (): Promise<Lock[]> => [
      ['oauthGrants', id, 'update'],
      ['sessionsOfGrant', id, 'no key update'],
      ...((await keys?.locks()) ?? []),
    ]
    return recordChange(context, origin, caller, locks, async (change) => {
      const { tx, held, now, record } = change
      const grant = held.oauthGrants.get(id)
      if (grant?.userId !== userId) fail('not_found')
      const ended = await endSessionsOfGrant(tx, id, now, reason)
      const made = (await keys?.revoke(change, reason)) ?? 0
      // The grant goes last: where the work stops between two steps, the same request goes on.
      if (made === limit) return made
      const named = (await findNamedGrant(tx, id)) ?? fail('not_found')
      await deleteGrants(tx, [id])
      await record(grantEnded(context, named, { sessions: ended.length, created }))
      return made
    })
  }
  await (created ? endInSteps(step) : step(1))
}

/** Ends everything that a user allowed apps, as part of a change that has locked it and ends the user's sessions. */
export async function endGrantsOfUser(
  context: Pick<Context, 'config'>,
  { tx, record }: Pick<Change<Caller>, 'tx' | 'record'>,
  userId: string,
  reason: string,
): Promise<void> {
  const grants = await listNamedGrantsOf(tx, userId)
  const ids = grants.map(({ id }) => id)
  await deleteGrants(tx, ids)
  await record(grants.map((grant) => grantEnded(context, grant, { reason })))
}
