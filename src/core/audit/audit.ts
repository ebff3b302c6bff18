import type { Database, Transaction } from '../../db/database.ts'
import type { EvictionKind } from '../../db/eviction.ts'
import { failField } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { type Page, type PageQuery, readPage } from '../../lib/page.ts'
import { readInstant } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import type {
  ClientPrincipal,
  KeyPrincipal,
  PortalPrincipal,
  Principal,
  UserPrincipal,
} from '../principal.ts'
import type { AuditEntry } from './model.ts'
import {
  type AuditRow,
  countEvents,
  findEventsOf,
  insertAuditEvents,
  listAuditEvents,
  listEventsOfUser,
} from './queries.ts'

/** Who acts. `details` go into each audit row of the actor: of a portal session, its maker and its owner; of an app, the person and the grant. */
export type Actor = {
  type: 'user' | 'key' | 'service_account' | 'client' | 'portal' | 'anonymous' | 'system'
  id: string | null
  details?: Record<string, unknown>
}

/** The actor of a change or an event, and the request by which the actor acts. */
export type Origin = {
  actor: Actor
  ip: string | null
  requestId: string | null
  userAgent: string | null
  /**
   * The requirement of the entry point for its caller. `recordChange` checks it again on the caller as of the change,
   * so that a caller who was demoted meanwhile changes nothing. null: the entry point requires nothing.
   * @throws Problem where the caller may not use the entry point
   */
  authorize: ((caller: Principal) => void) | null
}

/** The service itself, or a person at its command line. */
export const SYSTEM: Origin = {
  actor: { type: 'system', id: null },
  ip: null,
  requestId: null,
  userAgent: null,
  authorize: null,
}

/** The same origin with a user as the actor, for requests whose user is known only later, such as a log-in. */
export function onBehalfOf(origin: Origin, userId: string): Origin {
  return { ...origin, actor: { type: 'user', id: userId } }
}

/** The actor of a caller, for the audit trail. */
export function actorOf(
  principal:
    | Pick<UserPrincipal, 'kind' | 'userId'>
    | Pick<KeyPrincipal, 'kind' | 'keyId'>
    | Pick<ClientPrincipal, 'kind' | 'client' | 'userId'>
    | Pick<PortalPrincipal, 'kind' | 'sessionId' | 'maker' | 'owner'>,
): Actor {
  switch (principal.kind) {
    case 'user':
      return { type: 'user', id: principal.userId }
    case 'key':
      return { type: 'key', id: principal.keyId }
    case 'client': {
      const { id, grantId } = principal.client
      return { type: 'client', id, details: { user_id: principal.userId, grant_id: grantId } }
    }
    case 'portal':
      return { type: 'portal', id: principal.sessionId, details: partiesOf(principal) }
  }
}

/** Who made a portal session, and for whom, as the audit trail names them. */
export const partiesOf = ({ maker, owner }: Pick<PortalPrincipal, 'maker' | 'owner'>) => ({
  maker: { type: maker.type, id: maker.id },
  owner: { type: owner.type, id: owner.id },
})

/** The actions that the audit trail knows. Readers of the trail filter by these texts, so they are never renamed. */
export type AuditAction =
  | `user.${'signup' | 'created' | 'login' | 'login_failed' | 'locked' | 'deleted'}`
  | `user.${'password_changed' | 'reset_issued' | 'reset_cancelled' | 'password_reset' | 'reset_refused'}`
  | `user.${'limits_changed' | 'credited'}`
  | `user.${'role_changed' | 'scopes_changed' | 'email_verified' | 'disabled' | 'enabled'}`
  | `user.${'email_changed' | 'verification_sent' | 'reset_requested' | 'invited' | 'unlocked'}`
  | 'user.limits_changed'
  | `user.${'mfa_added' | 'mfa_removed' | 'mfa_failed' | 'mfa_locked' | 'reauthenticated'}`
  | `user.${'recovery_codes_created' | 'recovery_code_used' | 'passkey_suspended'}`
  | `mail.${'failed' | 'retried' | 'test_sent'}`
  | 'export.created'
  | `session.${'ended' | 'reused' | 'refresh_refused'}`
  | `token.${'granted' | 'refused' | 'revoked'}`
  | `key.${'created' | 'updated' | 'rotated' | 'secret_ended' | 'revoked' | 'deleted' | 'imported' | 'looked_up' | 'credited'}`
  | `service_account.${'created' | 'updated' | 'disabled' | 'enabled' | 'deleted' | 'manager_added' | 'manager_removed' | 'credited'}`
  | `signing_key.${'created' | 'rotated' | 'revoked' | 'rewrapped'}`
  | `portal.${'session_created' | 'session_ended'}`
  | `client.${'created' | 'updated' | 'deleted' | 'first_seen' | 'secret_created' | 'secret_ended'}`
  | `resource.${'created' | 'updated' | 'deleted'}`
  | `grant.${'allowed' | 'widened' | 'ended'}`
  | 'region.registered'
  | 'access.denied'

/** One event of the audit trail; the origin adds actor, address and request. */
export type AuditEvent = {
  action: AuditAction
  outcome?: 'success' | 'refused'
  target?: { type: EvictionKind; id: string }
  /** The changed values, before and after. Must never hold a secret. */
  details?: Record<string, unknown>
}

type AuditContext = Pick<Context, 'clock'>

/**
 * Writes one audit row. `db` is the transaction of the change that the row describes, so that both are committed or
 * neither.
 */
export function recordEvent(
  db: Database | Transaction,
  context: AuditContext,
  origin: Origin,
  event: AuditEvent,
): Promise<void> {
  return recordEvents(db, context, origin, [event])
}

/** Writes at least one audit row by one statement, in the transaction of the changes that the rows describe. */
export async function recordEvents(
  db: Database | Transaction,
  context: AuditContext,
  origin: Origin,
  events: readonly AuditEvent[],
): Promise<void> {
  await insertAuditEvents(
    db,
    events.map((event) => ({ id: newId(), ...rowOf(origin, event, context.clock()) })),
  )
}

/**
 * The columns of an audit row, without the id.
 * @param nowMs milliseconds since the epoch
 */
export function rowOf(origin: Origin, event: AuditEvent, nowMs: number) {
  return {
    at: new Date(nowMs),
    action: event.action,
    outcome: event.outcome ?? ('success' as const),
    actorType: origin.actor.type,
    actorId: origin.actor.id,
    targetType: event.target?.type ?? null,
    targetId: event.target?.id ?? null,
    ip: origin.ip,
    requestId: origin.requestId,
    details: { ...event.details, ...origin.actor.details },
  }
}

/**
 * Which of some actions the audit trail has for which targets. Rows older than AUDIT_RETENTION_DAYS are deleted.
 * @returns texts of the form `action target`
 * @example (await wereRecorded(db, ['key.deleted'], ids)).has(`key.deleted ${id}`)
 */
export async function wereRecorded(
  db: Database,
  actions: readonly AuditAction[],
  targets: readonly string[],
): Promise<Set<string>> {
  const events = await findEventsOf(db, actions, targets)
  return new Set(events.map(({ action, target }) => `${action} ${target}`))
}

/** The query parameters of a list of events: its conditions and its page. */
export type AuditQuery = PageQuery & {
  actor?: string
  target?: string
  action?: string
  outcome?: 'success' | 'refused'
  request_id?: string
  from?: string
  to?: string
}

/**
 * A page of the audit trail, newest first.
 * @throws Problem validation_failed for a forged cursor, an `actor` that is not an id, or a time that cannot be read
 */
export async function listEvents(context: Context, query: AuditQuery): Promise<Page<AuditRow>> {
  const { actor, target, action, outcome, request_id: requestId, from, to } = query
  if (actor !== undefined && !isId(actor)) failField('?actor', 'Must be an id')
  const list = `audit ${JSON.stringify([actor, target, action, outcome, requestId, from, to])}`
  const filter = {
    actor: actor ?? null,
    target: target ?? null,
    action: action ?? null,
    outcome: outcome ?? null,
    requestId: requestId ?? null,
    from: readInstant('?from', from),
    to: readInstant('?to', to),
  }
  return readPage(context.keys.cursor, list, query, (rows) => listAuditEvents(context.db, filter, rows))
}

/** How often people logged in since a time, could not, and were locked out for a while. */
export async function countLogins(
  { db }: Pick<Context, 'db'>,
  since: Date,
): Promise<Record<'succeeded' | 'failed' | 'locked', number>> {
  const actions: AuditAction[] = ['user.login', 'user.login_failed', 'user.locked']
  const counts = new Map((await countEvents(db, actions, since)).map(({ action, count }) => [action, count]))
  const [succeeded = 0, failed = 0, locked = 0] = actions.map((action) => counts.get(action) ?? 0)
  return { succeeded, failed, locked }
}

/** A page of what the trail says of a user: what they did, and what was done to their account. Newest first. */
export function listActivity(
  context: Context,
  { userId }: Pick<UserPrincipal, 'userId'>,
  page: PageQuery,
): Promise<Page<AuditRow>> {
  return readPage(context.keys.cursor, `activity ${userId}`, page, (rows) =>
    listEventsOfUser(context.db, userId, rows),
  )
}

/** An audit event in the form in which the API answers. */
export function presentEvent(row: AuditRow): AuditEntry {
  return {
    id: row.id,
    at: row.at.toISOString(),
    action: row.action,
    outcome: row.outcome,
    actor: { type: row.actorType, id: row.actorId },
    target: { type: row.targetType, id: row.targetId },
    ip: row.ip,
    request_id: row.requestId,
    details: row.details,
  }
}
