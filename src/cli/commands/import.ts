import type { Config } from '../../config/config.ts'
import { parseDatabaseUrl } from '../../config/database-url.ts'
import { SYSTEM } from '../../core/audit/audit.ts'
import { importSeed } from '../../core/import/seed/seed.ts'
import { type Secret, secret } from '../../lib/secret.ts'
import { defineCommand } from '../command.ts'
import { showReport } from './import-report.ts'

const STDIN = '-'

/** `latchkey import seed` */
export const command = defineCommand({
  kind: 'service',
  details: `
Reads users and API keys from the database of the FastAPI service that Latchkey replaces, in either of its versions, and
writes nothing to it. Passwords and keys go on as they are: no client has to change. Without --from it is the database
of DATABASE_URL; a password on the command line can be seen by others on this machine, so --from - reads the URL from
standard input. May run while servers serve, and again: nothing is imported twice, and who has been disabled or which
key has been revoked there since, is so here. docs/moving-from-the-seed.md tells the whole way.`,
  examples: [
    'import seed --from postgres://user@db.example.com/auth_db --dry-run',
    'import seed --from - --json < url.txt',
  ],
  options: {
    from: { takes: 'URL', summary: 'Its database; - reads the URL from standard input' },
    schema: { takes: 'NAME', summary: 'The schema of its tables (public)' },
    'no-admins': { summary: 'Import its admins as users: anybody could choose that role at sign-up' },
    'dry-run': { summary: 'Report what would be done, and do nothing' },
  },
  readInput: async (io, { from }) => (from === STDIN ? (await io.readAll()).trim() : null),
  run: (context, args, input, tell) =>
    importSeed(context, SYSTEM, {
      url: sourceOf(context.config, input ?? args.from),
      schema: args.schema ?? 'public',
      keepsAdmins: !args['no-admins'],
      isTrial: args['dry-run'],
      tell,
    }),
  show: showReport,
})

/** @throws Error with one sentence that repeats nothing of the URL */
function sourceOf(config: Config, from: string | undefined): Secret {
  if (from !== undefined) {
    const parsed = parseDatabaseUrl(from)
    if ('fault' in parsed) throw new Error(`--from ${parsed.fault}`)
    return secret(parsed.value)
  }
  const own = config.databaseDirectUrl ?? config.databaseUrl
  if (own === null) throw new Error('--from is missing: the embedded database here is not the one to read')
  return own
}
