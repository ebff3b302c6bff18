import type { Config } from '../../config/config.ts'
import { checkRegions, type RegionCheck } from '../../core/regions/check.ts'
import { publicationScript } from '../../core/regions/publication.ts'
import { findSubscriptions, requireCapable, requirePlace } from '../../core/regions/require.ts'
import { resyncScript } from '../../core/regions/resync.ts'
import { formatScript, type Script, statementsOf } from '../../core/regions/script.ts'
import { subscriptionScript } from '../../core/regions/subscription.ts'
import type { OpenDatabase } from '../../db/database.ts'
import { openDatabase } from '../../db/open.ts'
import { REPLICATION_ROLE, VERIFIER_ROLE } from '../../db/published.ts'
import { defineCommand } from '../command.ts'
import type { Io } from '../terminal.ts'
import { commandLog } from '../with-service.ts'

/** As `psql` takes it, and for programs the statements alone. */
type Printed = { text: string; statements: string[] }

const printed = (script: Script): Printed => ({
  text: formatScript(script),
  statements: statementsOf(script),
})
const show = ({ text }: Printed) => text

const NAME = /^[a-z0-9][a-z0-9._-]{0,49}$/

/** Checks the name of a region. It becomes that of a slot at home, which has no dots and dashes. */
function nameOf(name: string): string {
  if (!NAME.test(name))
    throw new Error('--name is 1 to 50 small letters, digits, dots, dashes and underscores, as REGION_NAME')
  return name.replaceAll(/[.-]/g, '_')
}

const subscribing = {
  name: {
    takes: 'NAME',
    required: true,
    summary: "The region's name, its own among all regions, as REGION_NAME",
  },
  connection: {
    takes: 'CONNINFO',
    summary: "How the region's server reaches home, as libpq takes it; without it, an example is printed",
  },
  failover: { summary: 'Keep the slot through a failover of home (PostgreSQL 17 and later on both sides)' },
} as const

/** Opens the database of DATABASE_URL for as long as `work` takes. */
async function onDatabase<T>(
  config: Config,
  io: Io,
  work: (database: OpenDatabase) => Promise<T>,
): Promise<T> {
  const log = commandLog(config, io)
  const database = await openDatabase(config, log)
  try {
    return await work(database)
  } finally {
    await database.close()
    log.flush()
  }
}

function describeCheck({ place, problems, unknown, lag_seconds, home }: RegionCheck): string {
  const lines = [
    problems.length === 0 ? `This ${place === 'home' ? 'home' : 'region'} is in order.` : '',
    ...problems.map((problem) => `Wrong: ${problem}`),
    ...unknown.map((sentence) => `Unknown: ${sentence}`),
    lag_seconds === null ? '' : `The last heartbeat of home is ${lag_seconds.toFixed(1)} s old.`,
    ...(home?.slots ?? []).map(
      ({ name, active, wal_status, bytes_behind, bytes_kept }) =>
        `Slot ${name}: ${active ? 'streaming' : 'idle'}, ${wal_status ?? 'unknown'}, ${bytes_behind ?? '?'} bytes behind, keeps ${bytes_kept ?? '?'} bytes of the log`,
    ),
  ]
  return lines.filter((line) => line !== '').join('\n')
}

/** `latchkey region …`. They change nothing: they print SQL, which an operator reads and runs. */
export const commands = {
  'region publication': defineCommand({
    kind: 'local',
    details: `
Run it where DATABASE_URL is home's. Print it again after an update, and run it again: it changes what is published to what
this release publishes.`,
    examples: ['region publication | psql "$DATABASE_URL"'],
    options: {
      role: { takes: 'ROLE', summary: `The role by which regions copy (${REPLICATION_ROLE})` },
    },
    run: ({ config, io }, { role }) =>
      onDatabase(config, io, async (database) => {
        await requireCapable(database)
        await requirePlace(database, 'home')
        return printed(publicationScript(role))
      }),
    show,
  }),
  'region subscription': defineCommand({
    kind: 'local',
    details: `
Run it where DATABASE_URL is the region's, behind "latchkey migrate --region". With --connection the password is on the
command line: leave it out of there, and name a file in the connection (passfile=…), or edit what is printed.`,
    examples: ['region subscription --name eu > region.sql'],
    options: {
      ...subscribing,
      role: { takes: 'ROLE', summary: `The role of the verifiers (${VERIFIER_ROLE})` },
    },
    run: ({ config, io }, { name, connection, failover, role }) =>
      onDatabase(config, io, async (database) => {
        await requireCapable(database, failover)
        await requirePlace(database, 'region')
        const options = { name: nameOf(name), connection, failover, role }
        return printed(subscriptionScript(options, await findSubscriptions(database)))
      }),
    show,
  }),
  'region check': defineCommand({
    kind: 'local',
    details: `
Run it where DATABASE_URL is the region's, with the settings of a verifier: home is asked by HOME_URL and HOME_KEY. Where
DATABASE_URL is home's, it checks home alone. It changes nothing. Its exit code is 1 where something is wrong.`,
    examples: ['region check', 'region check --json'],
    run: ({ config, io }) =>
      onDatabase(config, io, async (database) => {
        await requireCapable(database)
        return checkRegions(config, database)
      }),
    show: describeCheck,
    isFailure: ({ problems }) => problems.length > 0,
  }),
  'region resync': defineCommand({
    kind: 'local',
    details: `
Run it where DATABASE_URL is the region's, after a break: its copy may lack changes of home. Verifiers of the region answer
503 "stale" until the last statement has run.`,
    examples: ['region resync --name eu > resync.sql'],
    options: subscribing,
    run: ({ config, io }, { name, connection, failover }) =>
      onDatabase(config, io, async (database) => {
        await requireCapable(database, failover)
        await requirePlace(database, 'region')
        return printed(
          resyncScript({ name: nameOf(name), connection, failover }, await findSubscriptions(database)),
        )
      }),
    show,
  }),
}
