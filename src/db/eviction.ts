/**
 * The words of the channel on which every instance hears what it has to forget. The database's triggers send them, so
 * that a change by another instance, by the command line or by an operator in `psql` evicts everywhere.
 *
 * 0001_evict.sql:
 * - `user <id>`, `service_account <id>`, `session <id>`, `signing_key <id>`: this row was changed or deleted
 * - `key <id>`: this key or a secret of it was changed or deleted
 * - `flush`: a signing key was added, one of these tables truncated, or over 1,000 rows changed in one transaction
 *
 * 0004_evict_credits.sql:
 * - `key <id>`: this key got its row of credits, or lost it
 * - `flush`: the table of credits was truncated
 *
 * 0006_evict_tokens.sql:
 * - `token <id>`: this access token of a service account was revoked
 *
 * Not a trigger's:
 * - `beat <instance> <number>`: core/verify/proof-of-life.ts sends it to itself
 * - `password_kind <kind>`: core/import has stored password hashes of this kind
 *
 * Of users, service accounts, secrets and sessions only the columns count on which a credential's rights depend: each
 * NOTIFY takes a lock on the whole cluster.
 */
export const EVICTION_CHANNEL = 'latchkey_evict'

export const EVICTION_KINDS = ['user', 'service_account', 'key', 'session', 'signing_key', 'token'] as const

/** What a change is about; the first argument of the triggers. */
export type EvictionKind = (typeof EVICTION_KINDS)[number]

export type EvictionMessage =
  | { kind: EvictionKind; id: string }
  | { kind: 'flush' }
  | { kind: 'password_kind'; passwordKind: string }
  | { kind: 'beat'; instance: string; number: number }

/** Reads one message; null for a word that is not known here. */
export function parseEviction(payload: string): EvictionMessage | null {
  const [word, id = '', number] = payload.split(' ')
  if (word === 'flush') return { kind: word }
  if (word === 'password_kind') return { kind: word, passwordKind: id }
  if (word === 'beat') return { kind: word, instance: id, number: Number(number) }
  const kind = EVICTION_KINDS.find((each) => each === word)
  return kind ? { kind, id } : null
}

/** The message by which an instance proves to itself that evictions arrive. */
export const formatHeartbeat = (instance: string, number: number): string => `beat ${instance} ${number}`

/** The message that password hashes of a kind have come. */
export const formatPasswordKind = (kind: string): string => `password_kind ${kind}`
