import type { Database } from '../../db/database.ts'
import type { apiKeys } from '../../db/schema.ts'
import { newId } from '../../lib/ids.ts'
import { ceilingOfUser, covers, MAX_SCOPES, scopesOfUser } from '../../lib/scopes.ts'
import { type Origin, recordEvents, wereRecorded } from '../audit/audit.ts'
import { type Caller, type Change, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { lockOwner } from '../keys/change-managed.ts'
import type { Credits } from '../keys/model.ts'
import { readCredits } from '../keys/settings.ts'
import { type Owner, type OwnerColumns, ownerColumns } from '../owners.ts'
import type { AdminPrincipal, Operator } from '../principal.ts'
import type { ImportedSecret } from './credentials.ts'
import { nothingSeen, type Outcome, placeTogether, refused, type Seen, type Trial } from './outcome.ts'
import {
  findKeysByHash,
  findKeysById,
  findUsersById,
  insertImportedKeys,
  type KnownKey,
  type KnownUser,
  updateCeiling,
} from './queries.ts'

/** Who imports: an admin over HTTP, or the operator at the command line. */
export type Importer = AdminPrincipal | Operator

/** A key that comes from elsewhere. */
export type ImportedKey = {
  row: Omit<typeof apiKeys.$inferInsert, keyof OwnerColumns>
  owner: Owner
  secret: ImportedSecret
  lastUsedAt: Date | null
  credits: Credits | null
  /** Whether the ceiling of the user who owns the key rises to its scopes. */
  raisesCeiling: boolean
}

/**
 * Imports keys, each whole or not at all. A key that is here already stays as it is. Neither a quota nor
 * API_KEY_MAX_EXPIRE_DAYS applies: keys that worked go on, and expired ones are imported as expired.
 * @param trial in a dry run: nothing is written
 */
export function placeKeys(
  context: Context,
  origin: Origin,
  caller: Importer,
  keys: readonly ImportedKey[],
  trial: Trial | null,
): Promise<Outcome[]> {
  return placeTogether(keys, async (items) => {
    const known = await findKnownKeys(context.db, items)
    const owners = await findOwners(context, items, trial)
    if (trial) return decideKeys(context, items, known, owners, trial).outcomes
    const first = decideKeys(context, items, known, owners, nothingSeen())
    if (first.outcomes.every(({ status }) => status !== 'imported')) return first.outcomes
    // Owners are locked, so that none is deleted meanwhile. Two imports raise a user's ceiling one after the other, and
    // neither undoes the other's.
    const isLow = (key: ImportedKey) => needsCeiling(context, key) && !holdsAll(context, owners, key)
    const locks = items.map((key) => lockOwner(key.owner, isLow(key) ? 'no key update' : 'share'))
    return recordChange(context, origin, caller, locks, async (change) => {
      const { users, serviceAccounts } = change.held
      for (const user of users.values()) if (owners.has(user.id)) owners.set(user.id, user)
      const isGone = ({ type, id }: Owner) => !(type === 'user' ? users : serviceAccounts).has(id)
      const { outcomes, raised } = decideKeys(context, items, known, owners, nothingSeen(), isGone)
      const accepted = items.filter((_, at) => outcomes[at]?.status === 'imported')
      if (accepted.length > 0) await writeKeys(context, change, origin, accepted, raised)
      return outcomes
    })
  })
}

/** What is here of the keys to import. */
type KnownKeys = {
  byId: ReadonlyMap<string, KnownKey>
  /** By the hash of the secret, in hex. */
  byHash: ReadonlyMap<string, KnownKey>
  /** What the audit trail tells of their ids: `key.deleted <id>`, `key.rotated <id>`. */
  events: ReadonlySet<string>
}

/** By id before by hash: a key that comes in between is found by both, or by the hash alone. */
async function findKnownKeys(db: Database, keys: readonly ImportedKey[]): Promise<KnownKeys> {
  const ids = keys.map(({ row }) => row.id)
  const byId = await findKeysById(db, ids)
  const byHash = await findKeysByHash(
    db,
    keys.map(({ secret }) => secret.hash),
  )
  return {
    byId: new Map(byId.map((key) => [key.keyId, key])),
    byHash: new Map(byHash.map((key) => [key.hash.toHex(), key])),
    events: await wereRecorded(db, ['key.deleted', 'key.rotated'], ids),
  }
}

/** The users whose ceilings have to be known. */
async function findOwners(
  context: Context,
  keys: readonly ImportedKey[],
  trial: Trial | null,
): Promise<Map<string, KnownUser>> {
  const asked = keys.filter((key) => needsCeiling(context, key)).map(({ owner }) => owner.id)
  const users = await findUsersById(context.db, [...new Set(asked)])
  return new Map([...users, ...(trial?.usersById.values() ?? [])].map((user) => [user.id, user]))
}

const OWNER_GONE = 'Its owner is gone'

/** A user's ceiling before and after. */
type Raise = { before: string[] | null; after: string[] }

/**
 * Decides on keys in their order; a key that comes in may conflict with those that follow.
 * @returns the outcomes, and the ceilings that have to rise
 */
function decideKeys(
  context: Context,
  keys: readonly ImportedKey[],
  known: KnownKeys,
  owners: ReadonlyMap<string, KnownUser>,
  seen: Seen,
  isGone: (owner: Owner) => boolean = () => false,
): { outcomes: Outcome[]; raised: Map<string, Raise> } {
  const raised = new Map<string, Raise>()
  const outcomes = keys.map((key) => {
    const { row, owner, secret } = key
    if (isGone(owner)) return refused(OWNER_GONE)
    const conflict = findConflict(key, known, seen)
    if (conflict !== null) return conflict
    if (needsCeiling(context, key)) {
      const user = seen.usersById.get(owner.id) ?? owners.get(owner.id)
      if (!user) return refused(OWNER_GONE)
      const widened = widenedCeiling(context, user, row.scopes)
      if (widened !== null && 'refusal' in widened) return refused(widened.refusal)
      if (widened !== null) {
        raised.set(user.id, { before: raised.get(user.id)?.before ?? user.scopes, after: widened })
        seen.usersById.set(user.id, { ...user, scopes: widened })
      }
    }
    const comes = { keyId: row.id, ownerId: owner.id }
    seen.keysByHash.set(secret.hash.toHex(), comes)
    seen.keysById.set(row.id, comes)
    return { status: 'imported' as const, id: row.id }
  })
  return { outcomes, raised }
}

/** The outcome of a key that is here already, or conflicts with one that is; null: it can be imported. */
function findConflict({ row, owner, secret }: ImportedKey, known: KnownKeys, seen: Seen): Outcome | null {
  const hash = secret.hash.toHex()
  const holder = seen.keysByHash.get(hash) ?? known.byHash.get(hash)
  if (holder?.ownerId === owner.id) return { status: 'already_imported', id: holder.keyId }
  if (holder) return refused('This key belongs to another owner here')
  const namesake = seen.keysById.get(row.id) ?? known.byId.get(row.id)
  if (namesake?.ownerId === owner.id && known.events.has(`key.rotated ${row.id}`)) {
    // The secret that the rotation replaced stays dead.
    return { status: 'already_imported', id: row.id }
  }
  if (namesake) return refused('Another key has this id here already')
  if (known.events.has(`key.deleted ${row.id}`)) {
    return refused('This key was imported before and has been deleted here since')
  }
  return null
}

/** Whether its owner must be able to hold its scopes. Only a live key counts: a dead one raises no ceiling. */
function needsCeiling(
  { clock }: Pick<Context, 'clock'>,
  { row, owner, raisesCeiling }: ImportedKey,
): boolean {
  const isLive = !row.revokedAt && (!row.expiresAt || row.expiresAt.getTime() > clock())
  return raisesCeiling && owner.type === 'user' && isLive
}

/** Whether its owner, who is among the users, can hold its scopes already. */
function holdsAll(
  context: Pick<Context, 'config'>,
  users: ReadonlyMap<string, KnownUser>,
  { row, owner }: ImportedKey,
): boolean {
  const user = users.get(owner.id)
  return user !== undefined && widenedCeiling(context, user, row.scopes) === null
}

/**
 * The ceiling that a user needs to hold these scopes too.
 * @returns null where it holds them already; a refusal where it would be too long
 */
function widenedCeiling(
  { config }: Pick<Context, 'config'>,
  user: KnownUser,
  scopes: readonly string[],
): string[] | { refusal: string } | null {
  const ceiling = ceilingOfUser(user, config.userScopes)
  const missing = scopes.filter((scope) => !covers(ceiling, scope))
  if (missing.length === 0) return null
  const held = scopesOfUser(user, config.userScopes)
  const widened = [...held, ...missing]
  if (widened.length > MAX_SCOPES) return { refusal: `Its owner would hold more than ${MAX_SCOPES} scopes` }
  return widened
}

/** Writes keys with their secrets, credits and audit rows, and the ceilings that rise for them. */
async function writeKeys(
  context: Context,
  { tx, record }: Change<Caller>,
  origin: Origin,
  keys: readonly ImportedKey[],
  raised: ReadonlyMap<string, Raise>,
): Promise<void> {
  for (const [id, { before, after }] of raised) {
    await updateCeiling(tx, id, after)
    const details = { before, after, imported: true }
    await record({ action: 'user.scopes_changed', target: { type: 'user', id }, details })
  }
  await insertImportedKeys(tx, {
    keys: keys.map(({ row, owner }) => ({
      ...row,
      ...ownerColumns(owner),
    })),
    secrets: keys.map(({ row, secret, lastUsedAt }) => ({
      id: newId(),
      keyId: row.id,
      hash: secret.hash,
      start: secret.start,
      createdAt: row.createdAt,
      lastUsedAt,
    })),
    credits: keys.flatMap(({ row, credits }) =>
      credits ? [readCredits(row.id, credits, context.clock())] : [],
    ),
  })
  // Unlike `record`, this evicts nothing: no cache holds a new key.
  await recordEvents(tx, context, origin, keys.map(eventOf))
}

function eventOf({ row, owner }: ImportedKey) {
  const details = {
    owner,
    scopes: row.scopes,
    expires_at: row.expiresAt?.toISOString() ?? null,
    ...(row.revokedAt ? { revoked: true } : {}),
  }
  return { action: 'key.imported' as const, target: { type: 'key' as const, id: row.id }, details }
}
