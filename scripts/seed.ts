/**
 * Fills an empty instance with people, keys and thirty days of usage, for work on the console and for pictures. It reads the
 * settings as a server does. Where there is data, or where others than this machine reach the instance, it does nothing.
 *
 *   bun run seed
 *
 * The embedded database is opened by this program itself, and created where it is missing: no server may run on it.
 */
import type { Config } from '../src/config/config.ts'
import { loadConfig, processSettings } from '../src/config/load.ts'
import { isLoopback } from '../src/config/network.ts'
import { isHeldElsewhere } from '../src/db/errors.ts'
import { openDatabase } from '../src/db/open.ts'
import { createLog } from '../src/lib/log.ts'
import { describeFailure } from '../src/server/failure.ts'
import { assembleContext, bringUpToDate, withSecretKey } from '../src/server/open.ts'
import { ADMIN_EMAIL, fillInstance, isEmpty, PASSWORD } from './seed/fill.ts'

/** Settings under which the content can be made whatever the instance allows, and no mail is sent. */
const OWN_SETTINGS = {
  smtpUrl: null,
  mailFrom: null,
  emailVerification: 'off',
  apiKeysPerOwner: 1000,
  apiKeyDefaultExpireDays: null,
  apiKeyMaxExpireDays: null,
  userScopes: ['read', 'write'],
} satisfies Partial<Config>

/** Where others reach the instance; null: from this machine alone. */
function exposureOf({ host, publicUrl, databaseUrl }: Config): string | null {
  if (!isLoopback(host)) return `HOST is ${host}`
  const { hostname } = new URL(publicUrl)
  if (!isLoopback(hostname.replace(/^\[|\]$/g, ''))) return `PUBLIC_URL is ${publicUrl}`
  if (databaseUrl === null) return null
  const server = decodeURIComponent(new URL(databaseUrl.reveal()).hostname).replace(/^\[|\]$/g, '')
  // A path is the directory of a Unix socket.
  return server === '' || server.startsWith('/') || isLoopback(server) ? null : `the database is at ${server}`
}

/** @throws Error with one sentence for the person at the terminal */
async function seed(): Promise<string> {
  const settings = loadConfig(processSettings(), { isTerminal: true, isRead: true })
  if ('faults' in settings) throw new Error(settings.faults.join('\n'))
  const { config: given } = settings
  const exposure = exposureOf(given)
  if (exposure !== null)
    throw new Error(`the password of its users is known to everybody, and ${exposure}; nothing is written`)
  const log = createLog({ logLevel: 'warn', logFormat: 'pretty' }, tell)
  const database = await openDatabase(given, log, { creates: true }).catch((error) => {
    if (!isHeldElsewhere(error)) throw error
    throw new Error(`a server runs on the embedded database in ${given.dataDir}: stop it first`)
  })
  try {
    await bringUpToDate(given, database, log)
    const config = await withSecretKey({ ...given, ...OWN_SETTINGS }, true)
    const { context } = await assembleContext(config, database, log, { caching: false })
    if (!(await isEmpty(context.db)))
      throw new Error(
        'there are users or keys already; nothing is written. Take another database or DATA_DIR',
      )
    const made = await fillInstance(context)
    return `${made}\nLog in as ${ADMIN_EMAIL}, or as any other user, with the password "${PASSWORD}".\n`
  } finally {
    await database.close()
  }
}

function tell(text: string): void {
  process.stderr.write(text)
}

try {
  process.stdout.write(await seed())
  process.exit(0)
} catch (error) {
  tell(`seed: ${describeFailure(error)}\n`)
  process.exit(1)
}
