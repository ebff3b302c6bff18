import { BREAK_REASONS } from './regions.ts'

/**
 * The messages of the channel on which every instance learns what to remove from its cache
 * (docs/decisions/0004). Triggers of the database send them, so that a change by another instance, by the
 * command line or by an operator in `psql` evicts everywhere.
 *
 * 0001_evict.sql:
 * - `user <id>`, `service_account <id>`, `session <id>`, `signing_key <id>`: this row was changed or deleted
 * - `key <id>`: this key or one of its secrets was changed or deleted
 * - `flush`: a signing key was added, one of these tables was truncated, or over 1,000 rows changed in one
 *   transaction
 *
 * 0004_evict_credits.sql:
 * - `key <id>`: this key received its row of credits, or lost it (docs/decisions/0006)
 * - `flush`: the table of credits was truncated
 *
 * 0006_evict_tokens.sql:
 * - `token <id>`: this access token of a service account was revoked
 *
 * 0011_evict_new_keys.sql:
 * - `new`: a secret was added, so what was unknown may be known now
 *
 * 0014_evict_portal.sql:
 * - `portal_session <id>`: this portal session was changed or deleted
 *
 * 0019_evict_owner_credits.sql:
 * - `user <id>`, `service_account <id>`: this owner received its row of credits, or lost it
 * - `flush`: the table of the credits of owners was truncated
 *
 * 0023_evict_oauth.sql:
 * - `client <id>`, `resource <id>`: this app or API was changed in what decides, or deleted
 * - `grant <id>`: this grant was deleted
 * - `flush`: one of the three tables was truncated
 *
 * Not sent by a trigger:
 * - `password_kind <kind>`: core/import has stored password hashes of this kind (docs/decisions/0031)
 *
 * For users, service accounts, secrets and sessions, only changes of columns that decide a credential's
 * rights are sent: each NOTIFY takes a lock on the whole cluster.
 */
export const EVICTION_CHANNEL = 'latchkey_evict'

export const EVICTION_KINDS = [
  'user',
  'service_account',
  'key',
  'session',
  'signing_key',
  'token',
  'portal_session',
  'client',
  'resource',
  'grant',
] as const

/** The kind of row that a change concerns. It is the first argument of the triggers. */
export type EvictionKind = (typeof EVICTION_KINDS)[number]

export type EvictionMessage =
  | { kind: EvictionKind; id: string }
  | { kind: 'flush' }
  | { kind: 'new' }
  | { kind: 'password_kind'; passwordKind: string }

/** Reads one message. Returns null for an unknown kind, which a newer release may send. */
export function parseEviction(payload: string): EvictionMessage | null {
  const [word, id = ''] = payload.split(' ')
  if (word === 'flush' || word === 'new') return { kind: word }
  if (word === 'password_kind') return { kind: word, passwordKind: id }
  const kind = EVICTION_KINDS.find((each) => each === word)
  return kind ? { kind, id } : null
}

/**
 * The channel of one instance's heartbeats, whose messages are numbers (docs/decisions/0018). On a common channel each of N
 * instances would receive the heartbeats of all. PostgreSQL delivers the messages of all channels in the order of commits.
 */
export const heartbeatChannelOf = (instance: string): string =>
  `latchkey_heartbeat_${instance.replaceAll('-', '')}`

/** The message that password hashes of a kind were stored. */
export const formatPasswordKind = (kind: string): string => `password_kind ${kind}`

/**
 * The channel on which the database of a region tells its verifiers of home's heartbeats (docs/decisions/0057). Verifiers
 * listen to it on the connection that listens to EVICTION_CHANNEL, so that a heartbeat proves the evictions before it.
 *
 * 0025_region_triggers.sql:
 * - `heartbeat <n> <at> <timeline> <uncopied> <state>`: a heartbeat has arrived by logical replication. `at` is home's clock
 *   in milliseconds since the epoch; `uncopied` counts the tables of the subscription that are not at state `r`, and those
 *   that another subscription has
 * - `state <state>`: the row of `region_state` was written or removed
 *
 * `state` is `whole`, or why the copy may lack changes: `chain`, `timeline` or `resync` (BREAK_REASONS).
 *
 * A heartbeat is a proof only with `uncopied` 0 and `whole`. After `whole` follows another state, everything that was read
 * before is void: the copy is new.
 */
export const REGION_CHANNEL = 'latchkey_region'

const COPY_STATES = ['whole', ...BREAK_REASONS] as const
/** Whether a region's copy is whole, or why it may lack changes of home. */
export type CopyState = (typeof COPY_STATES)[number]

export type RegionMessage =
  | { kind: 'heartbeat'; n: number; atMs: number; timeline: number; uncopied: number; state: CopyState }
  | { kind: 'state'; state: CopyState }

/** Reads one message of REGION_CHANNEL. Returns null for one that a newer release may send. */
export function parseRegionMessage(payload: string): RegionMessage | null {
  const [kind, ...words] = payload.split(' ')
  const state = COPY_STATES.find((each) => each === words.at(-1))
  if (state === undefined) return null
  if (kind === 'state' && words.length === 1) return { kind, state }
  const [n = NaN, atMs = NaN, timeline = NaN, uncopied = NaN] = words.slice(0, -1).map(Number)
  if (kind !== 'heartbeat' || words.length !== 5) return null
  if (![n, atMs, timeline, uncopied].every(Number.isSafeInteger)) return null
  return { kind, n, atMs, timeline, uncopied, state }
}
