import { Problem } from '../../../lib/errors.ts'
import type { Secret } from '../../../lib/secret.ts'
import type { Origin } from '../../audit/audit.ts'
import type { Context } from '../../context.ts'
import { revokeKey } from '../../keys/end.ts'
import { operator } from '../../keys/reach.ts'
import { OPERATOR } from '../../principal.ts'
import { changeUser } from '../../users/administration.ts'
import type { ImportOptions } from '../files.ts'
import { count, newReport, newTrial, placeReadable, type Report, refused, type Trial } from '../outcome.ts'
import { placeKeys } from '../place-keys.ts'
import { placeUsers } from '../place-users.ts'
import { type AddressBook, createAddressBook } from '../user-item.ts'
import { openSeed, type Seed, type SeedKey, type SeedUser } from './database.ts'
import { readSeedKey, readSeedUser } from './rows.ts'

export type SeedOptions = ImportOptions & {
  /** As `parseDatabaseUrl` gives it. */
  url: Secret
  schema: string
  /** false: an admin of the seed becomes a user here. */
  keepsAdmins: boolean
}

/** A user of the seed: the id here, or null where the user was refused. */
type Owner = { id: string | null; email: string | null }
type Owners = Map<string, Owner>
type Run = { context: Context; origin: Origin; options: SeedOptions; trial: Trial | null; report: Report }

/**
 * Imports the users and keys of the replaced service from its database, each whole or not at all. Passwords and keys go
 * on working. A user or key that exists already stays unchanged, with one exception: one that was disabled or revoked
 * at the source since is disabled or revoked here too.
 * @throws Error with one sentence where the database cannot be read. What was imported until then stays, and the next
 * run continues from there.
 */
export async function importSeed(context: Context, origin: Origin, options: SeedOptions): Promise<Report> {
  const seed = await openSeed(options.url, options.schema)
  try {
    const trial = newTrial(options.isTrial, options.tell)
    const run: Run = { context, origin, options, trial, report: newReport() }
    options.tell(`found: ${seed.shape.summary}`)
    const owners: Owners = new Map()
    const addresses = createAddressBook()
    const admins: string[] = []
    for await (const rows of seed.users()) admins.push(...(await importUsers(run, rows, addresses, owners)))
    if (admins.length > 0) {
      options.tell(
        `admins there and so here; anybody could choose to be one at sign-up: ${admins.join(', ')}`,
      )
    }
    for await (const rows of seed.keys()) await importKeys(run, seed, rows, owners)
    return run.report
  } finally {
    await seed.close()
  }
}

/** @returns the addresses of the admins among them */
async function importUsers(
  { context, origin, options, trial, report }: Run,
  rows: readonly SeedUser[],
  addresses: AddressBook,
  owners: Owners,
): Promise<string[]> {
  const read = rows.map((row) => {
    const user = readSeedUser(context, row, options.keepsAdmins)
    return 'fault' in user ? user : addresses.enter(user, row.email ?? '')
  })
  const outcomes = await placeReadable(read, (users) => placeUsers(context, origin, users, trial))
  const admins: string[] = []
  for (const [at, row] of rows.entries()) {
    const user = read[at]
    const placed = outcomes[at]
    if (!user || !placed) continue
    const isOut = placed.status === 'already_imported' && !row.is_active && trial === null
    const refusal = isOut ? await followDisabled(context, origin, placed.id) : null
    const outcome = refusal === null ? placed : refused(refusal)
    if (outcome.status !== 'refused' && 'role' in user && user.role === 'admin') admins.push(user.email)
    owners.set(row.id, { id: placed.status === 'refused' ? null : placed.id, email: row.email })
    count(report, 'users', outcome, { id: numbered(row.id), email: row.email }, options.tell)
  }
  return admins
}

async function importKeys(
  { context, origin, options, trial, report }: Run,
  seed: Seed,
  rows: readonly SeedKey[],
  owners: Owners,
): Promise<void> {
  const read = rows.map((row) => {
    const owner = owners.get(row.user_id ?? '')
    if (!owner) return { fault: 'Its owner is not among the users there' }
    if (owner.id === null) return { fault: 'Its owner was refused' }
    return readSeedKey(context, seed.shape, row, owner.id)
  })
  const outcomes = await placeReadable(read, (keys) => placeKeys(context, origin, OPERATOR, keys, trial))
  for (const [at, row] of rows.entries()) {
    const outcome = outcomes[at]
    if (!outcome) continue
    const isOver = outcome.status === 'already_imported' && !row.is_active && trial === null
    if (isOver) await followRevoked(context, origin, outcome.id)
    const email = owners.get(row.user_id ?? '')?.email ?? null
    count(report, 'keys', outcome, { id: numbered(row.id), email }, options.tell)
  }
}

/** The id of the seed for the report: a JSON number where it is a whole number, else the text. */
function numbered(id: string): string | number {
  return /^\d{1,15}$/.test(id) ? Number(id) : id
}

/**
 * Disables a user who was disabled at the source after the import, and ends their sessions.
 * @returns null, or the reason why the user cannot be disabled
 */
async function followDisabled(context: Context, origin: Origin, id: string): Promise<string | null> {
  try {
    await changeUser(context, origin, OPERATOR, id, { is_active: false })
    return null
  } catch (error) {
    if (!(error instanceof Problem) || error.problem !== 'last_admin') throw error
    return 'This user has been disabled at the source, and is the last active admin here'
  }
}

/** Revokes a key that was revoked at the source after the import. A key that was deleted here meanwhile is skipped. */
async function followRevoked(context: Context, origin: Origin, id: string): Promise<void> {
  try {
    await revokeKey(context, origin, operator(), id, { reason: 'revoked_at_source', created: false })
  } catch (error) {
    if (!(error instanceof Problem) || error.problem !== 'not_found') throw error
  }
}
