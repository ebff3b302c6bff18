import type { Database, Transaction } from '../../db/database.ts'
import type { EvictionKind } from '../../db/eviction.ts'
import { failField } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { type Page, type PageQuery, readPage } from '../../lib/page.ts'
import { readInstant } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import type { KeyPrincipal, Principal, UserPrincipal } from '../principal.ts'
import type { AuditEntry } from './model.ts'
import { type AuditRow, findEventsOf, insertAuditEvents, listAuditEvents } from './queries.ts'

/** Who does something, and over which request. */
export type Origin = {
  actor: { type: 'user' | 'key' | 'service_account' | 'anonymous' | 'system'; id: string | null }
  ip: string | null
  requestId: string | null
  userAgent: string | null
  /**
   * What the entry point asks of its caller; `recordChange` asks it again of the caller as of the change. null: nothing.
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

/** The same request, once it is known whose it is. */
export function onBehalfOf(origin: Origin, userId: string): Origin {
  return { ...origin, actor: { type: 'user', id: userId } }
}

/** The actor that a principal is. */
export function actorOf(
  principal: Pick<UserPrincipal, 'kind' | 'userId'> | Pick<KeyPrincipal, 'kind' | 'keyId'>,
): Origin['actor'] {
  return principal.kind === 'user'
    ? { type: 'user', id: principal.userId }
    : { type: 'key', id: principal.keyId }
}

export type AuditAction =
  | `user.${'signup' | 'created' | 'login' | 'login_failed' | 'locked' | 'deleted'}`
  | `user.${'password_changed' | 'reset_issued' | 'reset_cancelled' | 'password_reset' | 'reset_refused'}`
  | `user.${'role_changed' | 'scopes_changed' | 'email_verified' | 'disabled' | 'enabled'}`
  | `user.${'email_changed' | 'verification_sent' | 'reset_requested' | 'invited' | 'unlocked'}`
  | `user.${'mfa_added' | 'mfa_removed' | 'mfa_failed' | 'mfa_locked' | 'reauthenticated'}`
  | `user.${'recovery_codes_created' | 'recovery_code_used' | 'passkey_suspended'}`
  | 'mail.failed'
  | `session.${'ended' | 'reused' | 'refresh_refused'}`
  | `token.${'granted' | 'refused' | 'revoked'}`
  | `key.${'created' | 'updated' | 'rotated' | 'secret_ended' | 'revoked' | 'deleted' | 'imported' | 'looked_up'}`
  | `service_account.${'created' | 'updated' | 'disabled' | 'enabled' | 'deleted'}`
  | `signing_key.${'created' | 'rotated' | 'revoked' | 'rewrapped'}`
  | 'access.denied'

export type AuditEvent = {
  action: AuditAction
  outcome?: 'success' | 'refused'
  target?: { type: EvictionKind; id: string }
  /** What changed, before and after; never a secret. */
  details?: Record<string, unknown>
}

type AuditContext = Pick<Context, 'clock'>

/** Writes one audit row, in the transaction of the change that it tells of. */
export function recordEvent(
  db: Database | Transaction,
  context: AuditContext,
  origin: Origin,
  event: AuditEvent,
): Promise<void> {
  return recordEvents(db, context, origin, [event])
}

/** Writes audit rows at once, at least one, in the transaction of the changes that they tell of. */
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

/** What a row says of an event, but for its id. */
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
    details: event.details ?? {},
  }
}

/**
 * What the trail tells of some things, each as `action target`. It forgets after AUDIT_RETENTION_DAYS.
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

/** What a list of events is narrowed by, and which page of it. */
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
 * @throws Problem validation_failed for a forged cursor, an actor that is no id, or a time that is none
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

/** An event of the trail as it is answered. */
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
