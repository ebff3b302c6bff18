import type { Config } from '../../config/config.ts'
import { parseDatabaseUrl } from '../../config/database-url.ts'
import { SYSTEM } from '../../core/audit/audit.ts'
import { importKeyFile, importUserFile } from '../../core/import/files.ts'
import type { Report } from '../../core/import/outcome.ts'
import { importSeed } from '../../core/import/seed/seed.ts'
import { type Secret, secret } from '../../lib/secret.ts'
import { defineCommand } from '../command.ts'
import { type Io, table } from '../terminal.ts'

/**
 * The same limit as for an import over HTTP. An import has to fit into a request to a running server; a
 * larger one is imported in parts.
 */
const MAX_BYTES = 8 * 1024 * 1024
const TOO_LONG = 'the file has more than 8 MiB: split it, for example by lines, and import the parts'
const STDIN = '-'

const dryRun = { summary: 'Report what the import would do, and change nothing' }
const fileArguments = {
  positionals: {
    file: {
      label: 'FILE',
      summary: 'A JSON array, or one JSON object on each line, in UTF-8; - is standard input',
    },
  },
  options: { 'dry-run': dryRun },
}

/** `latchkey import …`. */
export const commands = {
  'import seed': defineCommand({
    kind: 'service',
    details: `
Reads users and API keys from the database of the FastAPI service that Latchkey replaces, in either of its versions, and
writes nothing to it. Passwords and keys stay valid: no client has to change. Without --from it reads the database of
DATABASE_URL. Other users of this machine can see a password on a command line, so --from - reads the URL from standard
input. The import may run while servers serve, and may be repeated: nothing is imported twice, and a user who was
disabled there, or a key that was revoked there, ends here too. All steps are in docs/moving-from-the-seed.md.`,
    examples: [
      'import seed --from postgres://user@db.example.com/auth_db --dry-run',
      'import seed --from - --json < url.txt',
    ],
    options: {
      from: { takes: 'URL', summary: 'The URL of that database; - reads the URL from standard input' },
      schema: { takes: 'NAME', summary: 'The schema of its tables (public)' },
      'no-admins': {
        summary: 'Import its admins as users, because anyone could choose that role at sign-up',
      },
      'dry-run': dryRun,
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
  }),

  'import users': defineCommand({
    kind: 'service',
    details: `
Each user is an object:
  {"email": "user@example.com", "password_hash": "$2b$12$…", "created_at": "2025-01-31T12:00:00Z"}
and may have id (a UUID is kept), role, is_active, email_verified and scopes. password_hash is bcrypt (cost 4 to 14) or
argon2 (at most 64 MiB, 10 passes). Passwords stay valid, and are hashed again at the next login. A user without
password_hash cannot log in until a password is set. Of addresses that differ only in case the first is imported; the
others are reported. A repeated import of the same file imports no user twice. At most 8 MiB.`,
    examples: ['import users users.jsonl --dry-run', 'import users - --json < users.json'],
    ...fileArguments,
    readInput: (io, { file }) => readImportFile(io, file),
    run: (context, { 'dry-run': isTrial }, input, tell) =>
      importUserFile(context, SYSTEM, input ?? '', { isTrial, tell }),
    show: showReport,
  }),

  'import keys': defineCommand({
    kind: 'service',
    details: `
Each key is an object as POST /keys/import takes it:
  {"owner": {"email": "user@example.com"}, "hash": "<SHA-256 in hex>", "name": "CI", "scopes": "read"}
owner has one of email, user_id and service_account_id. "key", the whole key, may replace "hash". Each key is imported
completely or not at all. After an invalid key the import continues, and the report says why the key was refused. A
repeated import of the same file imports no key twice. At most 8 MiB.`,
    examples: ['import keys keys.jsonl --dry-run', 'import keys - --json < keys.json'],
    ...fileArguments,
    readInput: (io, { file }) => readImportFile(io, file),
    run: (context, { 'dry-run': isTrial }, input, tell) =>
      importKeyFile(context, SYSTEM, input ?? '', { isTrial, tell }),
    show: showReport,
  }),
}

/**
 * Reads the URL of the source database.
 * @throws Error with one sentence that contains nothing of the URL
 */
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

/**
 * Reads the text of a file, or of standard input.
 * @throws Error with one sentence if the text cannot be read, is not UTF-8, or is too long
 */
async function readImportFile(io: Io, file: string): Promise<string> {
  const text = file === STDIN ? await io.readAll() : await readFile(file)
  if (Buffer.byteLength(text) > MAX_BYTES) throw new Error(TOO_LONG)
  if (text.includes('\0')) throw new Error('the file is not text: it contains NUL')
  return text
}

async function readFile(path: string): Promise<string> {
  const file = Bun.file(path)
  if (file.size > MAX_BYTES) throw new Error(TOO_LONG)
  const bytes = await file.bytes()
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new Error('the file is not text in UTF-8')
  }
}

/** Writes the result of an import for people: the counts, and each refused item with its reason. */
function showReport({ users, keys }: Report): string {
  const lines = [['Users', users] as const, ['Keys', keys] as const].map(
    ([kind, { imported, already_imported, refused }]) =>
      `${kind}: ${imported} imported, ${already_imported} imported before, ${refused.length} refused.`,
  )
  const refusals = [
    ...users.refused.map((refusal) => ['user', refusal] as const),
    ...keys.refused.map((refusal) => ['key', refusal] as const),
  ].map(([kind, { id, email, reason }]) =>
    [kind, String(id ?? '-'), email ?? '-', reason].map(withoutControls),
  )
  if (refusals.length === 0) return lines.join('\n')
  return `${lines.join('\n')}\n\n${table(['REFUSED', 'ID', 'EMAIL', 'REASON'], refusals)}`
}

/**
 * Removes control characters: imported text may contain escape sequences, which must not reach the terminal.
 */
function withoutControls(text: string): string {
  return text.replace(/\p{C}/gu, '\uFFFD')
}
