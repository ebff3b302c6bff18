import { type Static, Type } from '@sinclair/typebox'
import { Id, Instant, nullable, wordOf } from '../../lib/model.ts'
import { AuditEntry } from '../audit/model.ts'
import { Key } from '../keys/model.ts'
import { Counts } from '../usage/model.ts'

/** What is wrong with a server or its surroundings, by a code that never changes. */
const WARNING_CODES = [
  'cache_bypassed',
  'redis_away',
  'issuer_differs',
  'namespace_differs',
  'mail_failing',
] as const

export const Warning = Type.Object(
  { code: wordOf(WARNING_CODES), message: Type.String() },
  { $id: 'Warning', description: 'Something that an operator should look at, as of now' },
)
export type Warning = Static<typeof Warning>

const Used = Type.Object({ id: Id, label: nullable(Type.String()), count: Type.Integer() })
export type Used = Static<typeof Used>

const members = {
  as_of: Instant,
  last_24_hours: Type.Object({
    buckets: Type.Array(Type.Object({ at: Instant, counts: Counts }), { description: 'Hours, oldest first' }),
    totals: Counts,
  }),
  active_keys: Type.Integer({ description: 'Keys that are not revoked; counted every five minutes at most' }),
  logins: Type.Object({
    succeeded: Type.Integer(),
    failed: Type.Integer(),
    locked: Type.Integer({ description: 'How often an account was locked for a while' }),
  }),
  top_by_use: Type.Array(Used, { description: 'The keys that were used most' }),
  top_by_refusals: Type.Array(Used, { description: 'The keys that were refused most' }),
  expiring: Type.Object({
    count: Type.Integer({ description: 'Keys that expire within 14 days' }),
    items: Type.Array(Key, { description: 'The first of them' }),
  }),
  audit: Type.Array(AuditEntry, { description: 'The newest events' }),
}

export const Overview = Type.Object(
  { ...members, warnings: Type.Array(Warning) },
  { $id: 'Overview', description: 'Counts are of the last 24 hours, and at most about a minute old' },
)
export type Overview = Static<typeof Overview>

/** The overview as it is stored: what it has without the warnings, and when the keys were counted. */
export const StoredOverview = Type.Object({ ...members, active_keys_at: Instant })
export type StoredOverview = Static<typeof StoredOverview>
