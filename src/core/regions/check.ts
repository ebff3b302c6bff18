import type { Config } from '../../config/config.ts'
import type { Database, OpenDatabase } from '../../db/database.ts'
import { findNewestMigration, readMigrationState } from '../../db/migrate.ts'
import { PUBLISHED } from '../../db/published.ts'
import { VERSION } from '../../lib/version.ts'
import { askHome } from './ask-home.ts'
import { readHomeStatus } from './home-status.ts'
import type { HomeStatus } from './model.ts'
import {
  findArrived,
  findServerVersion,
  listCopyColumns,
  listKeysAndGuards,
  listSubscribedTables,
} from './queries.ts'

/** What `latchkey region check` found. `problems` is empty where the region works, as far as that is known. */
export type RegionCheck = {
  place: 'home' | 'region'
  problems: string[]
  /** What could not be found out, in sentences. */
  unknown: string[]
  /** Seconds by the region's clock since home wrote the last heartbeat that arrived; at home, always null. */
  lag_seconds: number | null
  /** What home says of itself; null: it was not asked, or did not answer. */
  home: HomeStatus | null
}

/** A heartbeat comes each second. */
const LATE_SECONDS = 10

/** Checks a region and what home says of itself; or home alone, where the database is home's. */
export async function checkRegions(config: Config, database: OpenDatabase): Promise<RegionCheck> {
  const { db } = database
  const state = await readMigrationState(database)
  const place = state.place ?? 'home'
  const pending =
    state.pending === 0
      ? []
      : [
          `${state.pending} migrations are missing: run "latchkey migrate${place === 'region' ? ' --region' : ''}"`,
        ]
  if (place === 'home') {
    const home = await readHomeStatus(db)
    const problems = [...pending, ...problemsOfHome(home), ...home.slots.flatMap(problemsOfSlot)]
    return { place, problems, unknown: [], lag_seconds: null, home }
  }
  const { problems, subscriptions, lagSeconds } = await checkCopy(db)
  const asked = await askHome(config)
  const ofHome = 'status' in asked ? await compare(db, asked.status, subscriptions) : []
  return {
    place,
    problems: [...pending, ...problems, ...ofHome],
    unknown: 'unknown' in asked ? [asked.unknown] : [],
    lag_seconds: lagSeconds,
    home: 'status' in asked ? asked.status : null,
  }
}

/** What home lacks for regions of this release. */
function problemsOfHome({
  server_version,
  wal_level,
  max_slot_wal_keep_size,
  synchronized_standby_slots,
  has_standby_slots,
  publication,
  operations,
  heartbeat_at,
  slots,
}: HomeStatus) {
  const problems: string[] = []
  if (server_version < 150_000)
    problems.push('home: PostgreSQL is older than 15, which publishes whole tables')
  if (wal_level !== 'logical') problems.push(`home: wal_level is ${wal_level}, and has to be logical`)
  if (max_slot_wal_keep_size === '-1')
    problems.push('home: max_slot_wal_keep_size is not set: a region that is away fills the disk')
  if (synchronized_standby_slots === '' && has_standby_slots && slots.some(({ failover }) => failover))
    problems.push(
      'home: synchronized_standby_slots is empty: a region may be ahead of the standby that is the primary next',
    )
  if (heartbeat_at === null)
    problems.push('home: there is no heartbeat: run what "region publication" prints')
  if (publication === null)
    return [...problems, 'home: there is no publication: run what "region publication" prints']
  const left = ['insert', 'update', 'delete', 'truncate'].filter((name) => !operations.includes(name))
  if (left.length > 0) problems.push(`home: the publication leaves out each ${left.join(', ')}`)
  const filtered = publication.filter(({ is_filtered }) => is_filtered).map(({ table }) => table)
  if (filtered.length > 0)
    problems.push(`home: a filter leaves rows of ${filtered.join(', ')} out: copy them anew after its end`)
  const published = new Map(publication.map(({ table, columns }) => [table, new Set(columns)]))
  for (const { name, columns, kept } of PUBLISHED) {
    const found = published.get(name)
    if (!found) {
      problems.push(`home: ${name} is not published`)
      continue
    }
    const missing = columns.filter((column) => !found.has(column))
    const secret = kept.filter((column) => found.has(column))
    if (missing.length > 0) problems.push(`home: ${name} is published without ${missing.join(', ')}`)
    if (secret.length > 0)
      problems.push(`home: ${name} is published with ${secret.join(', ')}, which stays at home`)
  }
  const known = new Set(PUBLISHED.map(({ name }) => name))
  const others = [...published.keys()].filter((table) => !known.has(table))
  return others.length === 0
    ? problems
    : [...problems, `home: also published, and unknown here: ${others.join(', ')}`]
}

const problemsOfSlot = ({ name, active, wal_status }: HomeStatus['slots'][number]): string[] => [
  ...(wal_status === 'lost' ? [`home: the slot ${name} is lost: its region needs "region resync"`] : []),
  ...(active ? [] : [`home: nothing streams from the slot ${name}`]),
]

/** Compares what home says with the region. */
async function compare(db: Database, home: HomeStatus, subscriptions: readonly string[]): Promise<string[]> {
  const problems = problemsOfHome(home)
  const columns = new Set((await listCopyColumns(db)).map(({ table, column }) => `${table}.${column}`))
  const absent = (home.publication ?? []).flatMap(({ table, columns: published }) =>
    published.map((column) => `${table}.${column}`).filter((name) => !columns.has(name)),
  )
  if (absent.length > 0)
    problems.push(
      `home publishes what this schema lacks: ${absent.join(', ')}; run "latchkey migrate --region"`,
    )
  const migration = await findNewestMigration(db)
  if (home.migration !== migration)
    problems.push(`the schemas differ: ${home.migration} at home, ${migration} here`)
  if (home.version !== VERSION) problems.push(`the releases differ: ${home.version} at home, ${VERSION} here`)
  for (const name of subscriptions) {
    const slot = home.slots.find((each) => each.name === name)
    problems.push(
      ...(slot ? problemsOfSlot(slot) : [`home: there is no slot ${name}: run what "region resync" prints`]),
    )
  }
  return problems
}

/** What the region's own database says of its copy. */
async function checkCopy(
  db: Database,
): Promise<{ problems: string[]; subscriptions: string[]; lagSeconds: number | null }> {
  const problems: string[] = []
  if ((await findServerVersion(db)) < 150_000)
    problems.push('PostgreSQL is older than 15, which copies every column')
  const tables = await listSubscribedTables(db)
  const subscriptions = [...new Set(tables.map(({ subscription }) => subscription))]
  if (subscriptions.length === 0)
    problems.push('there is no subscription: run what "region subscription" prints')
  if (subscriptions.length > 1) problems.push(`more than one subscription: ${subscriptions.join(', ')}`)
  if (tables.some(({ isEnabled }) => !isEnabled)) problems.push('the subscription is disabled')
  const copying = new Map(tables.map(({ table, state }) => [table, state]))
  const names = PUBLISHED.map(({ name }) => name)
  const missing = names.filter((name) => !copying.has(name))
  if (subscriptions.length > 0 && missing.length > 0)
    problems.push(`not copied, since the subscription does not know of it yet: ${missing.join(', ')}`)
  const unfinished = names.filter((name) => copying.has(name) && copying.get(name) !== 'r')
  if (unfinished.length > 0) problems.push(`not copied yet: ${unfinished.join(', ')}`)
  const { broken, ageSeconds } = await findArrived(db)
  if (broken !== null)
    problems.push(`the copy may lack changes of home (${broken}): run what "region resync" prints`)
  if (ageSeconds === null) problems.push('no heartbeat of home has arrived')
  else if (ageSeconds > LATE_SECONDS)
    problems.push(`the last heartbeat of home is ${Math.round(ageSeconds)} s old`)
  return { problems: [...problems, ...(await schemaProblems(db))], subscriptions, lagSeconds: ageSeconds }
}

/** What of the region's schema would stop the copy, or lets it be changed here. */
async function schemaProblems(db: Database): Promise<string[]> {
  const found = await listCopyColumns(db)
  const { keys, guards } = await listKeysAndGuards(db)
  const has = new Map(found.map(({ table, column, isNeeded }) => [`${table}.${column}`, isNeeded]))
  const lacking = PUBLISHED.flatMap(({ name, columns }) =>
    columns.map((column) => `${name}.${column}`),
  ).filter((name) => !has.has(name))
  const needed = PUBLISHED.flatMap(({ name, kept }) => kept.map((column) => `${name}.${column}`)).filter(
    (name) => has.get(name),
  )
  const names = PUBLISHED.map(({ name }) => name)
  const leading = keys.filter(({ to }) => names.includes(to)).map(({ name }) => name)
  const unguarded = names.filter((name) => !guards.has(name))
  const again = 'run "latchkey migrate --region"'
  return [
    ...(lacking.length > 0 ? [`columns are missing: ${lacking.join(', ')}; ${again}`] : []),
    ...(needed.length > 0
      ? [`columns that stay at home may not be missing: ${needed.join(', ')}; ${again}`]
      : []),
    ...(leading.length > 0 ? [`foreign keys would stop the stream: ${leading.join(', ')}; ${again}`] : []),
    ...(unguarded.length > 0 ? [`tables may be changed here: ${unguarded.join(', ')}; ${again}`] : []),
  ]
}
