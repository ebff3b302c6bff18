import type { Database } from '../../db/database.ts'
import type { apiKeys } from '../../db/schema.ts'
import { newId } from '../../lib/ids.ts'
import { ceilingOfUser, covers, MAX_SCOPES, scopesOfUser } from '../../lib/scopes.ts'
import { type Origin, recordEvents, wereRecorded } from '../audit/audit.ts'
import { type Change, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { insertKeyCredits } from '../credits/key-credits.ts'
import type { Credits } from '../credits/refills.ts'
import { lockOwner } from '../keys/change-managed.ts'
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

/** The caller of an import: an admin over HTTP, or the operator at the command line. */
export type Importer = AdminPrincipal | Operator

/** A key to import, read and with its owner. */
export type ImportedKey = {
  row: Omit<typeof apiKeys.$inferInsert, keyof OwnerColumns>
  owner: Owner
  secret: ImportedSecret
  lastUsedAt: Date | null
  credits: Credits | null
  /** Whether the ceiling of the user who owns the key is raised to the key's scopes. */
  raisesCeiling: boolean
}

/**
 * Imports keys, each whole or not at all. A key that exists already stays unchanged. Neither quotas nor
 * API_KEY_MAX_EXPIRE_DAYS apply: the keys worked before and must go on working. Expired keys are imported as expired.
 * @param trial the state of a dry run, in which nothing is written; null: a real run
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
    // The owners are locked, so that none is deleted meanwhile. A user whose ceiling is raised is locked in the
    // stronger mode: of two imports at once, the second then adds to the ceiling that the first has raised, instead of
    // replacing it.
    const isLow = (key: ImportedKey) => needsCeiling(context, key) && !holdsAll(context, owners, key)
    const locks = items.map((key) => lockOwner(key.owner, isLow(key) ? 'no key update' : 'share'))
    const done = recordChange(context, origin, caller, locks, async (change) => {
      const { users, serviceAccounts } = change.held
      for (const user of users.values()) if (owners.has(user.id)) owners.set(user.id, user)
      const isGone = ({ type, id }: Owner) => !(type === 'user' ? users : serviceAccounts).has(id)
      const { outcomes, raised } = decideKeys(context, items, known, owners, nothingSeen(), isGone)
      const accepted = items.filter((_, at) => outcomes[at]?.status === 'imported')
      if (accepted.length > 0) await writeKeys(context, change, origin, accepted, raised)
      return outcomes
    })
    // Somebody may have presented an imported key before, and been told that it is unknown.
    return done.finally(() => context.cache.forgetUnknown())
  })
}

/** The existing keys with which an import can conflict. */
type KnownKeys = {
  byId: ReadonlyMap<string, KnownKey>
  /** By the SHA-256 of the secret, in hex. */
  byHash: ReadonlyMap<string, KnownKey>
  /** Events of the audit trail about the imported ids: `key.deleted <id>`, `key.rotated <id>`. */
  events: ReadonlySet<string>
}

/**
 * Looks up by id first, then by hash. A key that is inserted between the two queries is then found by its hash, so it
 * cannot be missed.
 */
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

/** The users whose ceilings decide about the import. */
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

/** A user's ceiling before and after the import. */
type Raise = { before: string[] | null; after: string[] }

/**
 * Decides about keys in their order, because an accepted key may conflict with a later one.
 * @returns the outcomes, and the ceilings to raise
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

/** The outcome of a key that exists already or conflicts with an existing one; null: the key can be imported. */
function findConflict({ row, owner, secret }: ImportedKey, known: KnownKeys, seen: Seen): Outcome | null {
  const hash = secret.hash.toHex()
  const holder = seen.keysByHash.get(hash) ?? known.byHash.get(hash)
  if (holder?.ownerId === owner.id) return { status: 'already_imported', id: holder.keyId }
  if (holder) return refused('This key belongs to another owner here')
  const namesake = seen.keysById.get(row.id) ?? known.byId.get(row.id)
  if (namesake?.ownerId === owner.id && known.events.has(`key.rotated ${row.id}`)) {
    // The secret that the rotation replaced must not become valid again.
    return { status: 'already_imported', id: row.id }
  }
  if (namesake) return refused('Another key has this id here already')
  if (known.events.has(`key.deleted ${row.id}`)) {
    return refused('This key was imported before and has been deleted here since')
  }
  return null
}

/** Whether the owner's ceiling must cover the key's scopes. Only a live key raises a ceiling. */
function needsCeiling(
  { clock }: Pick<Context, 'clock'>,
  { row, owner, raisesCeiling }: ImportedKey,
): boolean {
  const isLive = !row.revokedAt && (!row.expiresAt || row.expiresAt.getTime() > clock())
  return raisesCeiling && owner.type === 'user' && isLive
}

/** Whether the owner, if found among the users, already holds the key's scopes. */
function holdsAll(
  context: Pick<Context, 'config'>,
  users: ReadonlyMap<string, KnownUser>,
  { row, owner }: ImportedKey,
): boolean {
  const user = users.get(owner.id)
  return user !== undefined && widenedCeiling(context, user, row.scopes) === null
}

/**
 * The ceiling that a user needs in order to hold these scopes too.
 * @returns null where the present ceiling covers them; a refusal where the ceiling would have too many scopes
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

/** Writes keys with their secrets, credits and audit rows, and raises the ceilings of their owners. */
async function writeKeys(
  context: Context,
  { tx, caller, record }: Change<Importer>,
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
    keys: keys.map((key) => ({
      ...key.row,
      ...ownerColumns(key.owner),
      limitsOfOthers: caller.kind === 'user' && caller.userId === key.owner.id ? [] : limitsOf(key),
    })),
    secrets: keys.map(({ row, secret, lastUsedAt }) => ({
      id: newId(),
      keyId: row.id,
      hash: secret.hash,
      start: secret.start,
      createdAt: row.createdAt,
      lastUsedAt,
    })),
  })
  const credits = keys.flatMap(({ row, credits }) => (credits ? [{ keyId: row.id, credits }] : []))
  await insertKeyCredits(tx, credits)
  // Unlike `record`, `recordEvents` evicts nothing from the cache, which holds no new key.
  await recordEvents(tx, context, origin, keys.map(eventOf))
}

/** The limits of an imported key, which its owner does not raise. */
const limitsOf = ({ row, credits }: ImportedKey): string[] => [
  ...(row.rateLimit == null ? [] : ['rate_limit']),
  ...(credits === null ? [] : ['credits']),
]

function eventOf({ row, owner }: ImportedKey) {
  const details = {
    owner,
    scopes: row.scopes,
    expires_at: row.expiresAt?.toISOString() ?? null,
    ...(row.revokedAt ? { revoked: true } : {}),
  }
  return { action: 'key.imported' as const, target: { type: 'key' as const, id: row.id }, details }
}
