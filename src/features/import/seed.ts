import type { Context } from '../../context.ts'
import type { Secret } from '../../lib/secret.ts'
import type { Origin } from '../audit/service.ts'
import { type AddressBook, createAddressBook } from './address-book.ts'
import type { ImportOptions } from './files.ts'
import { type Outcome, refused } from './outcome.ts'
import { followRevoked, placeKey } from './place-key.ts'
import { followDisabled, placeUser } from './place-user.ts'
import type { ImportedUserRow } from './queries.ts'
import { count, newReport, type Report } from './report.ts'
import { openSeed, type Seed, type SeedKey, type SeedUser } from './seed-database.ts'
import { readSeedKey, readSeedUser } from './seed-rows.ts'
import { newTrial, type Trial } from './trial.ts'

export type SeedOptions = ImportOptions & {
  /** As `parseDatabaseUrl` gives it. */
  url: Secret
  schema: string
  /** false: whoever is an admin there is a user here. */
  keepsAdmins: boolean
}

/** Who a user of the seed's is here; `id: null` where they were refused. */
type Owner = { id: string | null; email: string | null }
type Owners = Map<string, Owner>
type Run = { context: Context; origin: Origin; options: SeedOptions; trial: Trial | null; report: Report }

/**
 * Imports the users and keys of the replaced service from its database, each whole or not at all: passwords and keys go
 * on as they are. Who is here already stays, but for what has been disabled or revoked there since, which is here too.
 * @throws Error with one sentence where the database cannot be read; what was imported until then stays, and another
 * run goes on from there
 */
export async function importSeed(context: Context, origin: Origin, options: SeedOptions): Promise<Report> {
  const seed = await openSeed(options.url, options.schema)
  try {
    const trial = options.isTrial ? newTrial(options.tell) : null
    const run: Run = { context, origin, options, trial, report: newReport() }
    options.tell(`found: ${seed.shape.summary}`)
    const owners = await importUsers(run, seed)
    for await (const key of seed.keys()) {
      const owner = owners.get(key.user_id ?? '')
      const outcome = await importKey(run, seed, key, owner)
      const from = { id: numbered(key.id), email: owner?.email ?? null }
      count(run.report, 'keys', outcome, from, options.tell)
    }
    return run.report
  } finally {
    await seed.close()
  }
}

async function importUsers(run: Run, seed: Seed): Promise<Owners> {
  const { options, report } = run
  const owners: Owners = new Map()
  const addresses = createAddressBook()
  const admins: string[] = []
  for await (const row of seed.users()) {
    const user = readSeedUser(run.context, row, options.keepsAdmins)
    const outcome = 'fault' in user ? refused(user.fault) : await importUser(run, row, user, addresses)
    const isIn = outcome.status !== 'refused'
    if (isIn && 'role' in user && user.role === 'admin') admins.push(user.email)
    owners.set(row.id, { id: isIn ? outcome.id : null, email: row.email })
    count(report, 'users', outcome, { id: numbered(row.id), email: row.email }, options.tell)
  }
  if (admins.length > 0) {
    options.tell(`admins there and so here; anybody could choose to be one at sign-up: ${admins.join(', ')}`)
  }
  return owners
}

async function importUser(
  { context, origin, trial }: Run,
  row: SeedUser,
  user: ImportedUserRow,
  addresses: AddressBook,
): Promise<Outcome> {
  const clash = addresses.clash(user.id, row.email ?? '')
  if (clash !== null) return refused(clash)
  const outcome = await placeUser(context, origin, user, trial)
  if (outcome.status !== 'already_imported' || user.isActive || trial) return outcome
  const refusal = await followDisabled(context, origin, user.id)
  return refusal === null ? outcome : refused(refusal)
}

async function importKey(
  { context, origin, trial }: Run,
  seed: Seed,
  row: SeedKey,
  owner: Owner | undefined,
): Promise<Outcome> {
  if (!owner) return refused('Its owner is not among the users there')
  if (owner.id === null) return refused('Its owner was refused')
  const key = readSeedKey(context, seed.shape, row, owner.id)
  if ('fault' in key) return refused(key.fault)
  const outcome = await placeKey(context, origin, key, trial)
  if (outcome.status === 'already_imported' && key.row.revokedAt && !trial) {
    await followRevoked(context, origin, outcome.id)
  }
  return outcome
}

/** A whole number as JSON has it; a UUID as it is. */
function numbered(id: string): string | number {
  return /^\d{1,15}$/.test(id) ? Number(id) : id
}
