import type { Config } from '../../config/config.ts'
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

const NAME = /^[a-z0-9_]{1,40}$/

/** Checks the name of a region, which becomes that of a slot at home. */
function nameOf(name: string): string {
  if (!NAME.test(name)) throw new Error('--name is 1 to 40 small letters, digits and "_"')
  return name
}

const subscribing = {
  name: {
    takes: 'NAME',
    required: true,
    summary: "The region's name, its own among all regions: small letters, digits and _",
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

/** `latchkey region …`. They print SQL, which an operator reads and runs: they change nothing. */
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
