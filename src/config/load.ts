import { readFileSync } from 'node:fs'
import { type ConfigResult, readConfig } from './read.ts'
import type { Environment } from './reader.ts'
import { distrustOf, OTHERS } from './trust.ts'

const DOTENV = '.env in the working directory'
/** Lines of `.env` that set a secret. A URL may contain a password. */
const SECRETS =
  /^\s*(?:export\s+)?(?:SECRET_KEY|ADMIN_PASSWORD|METRICS_TOKEN|DATABASE_URL|DATABASE_DIRECT_URL|REDIS_URL|SMTP_URL|HOME_KEY|LATCHKEY_PASSPHRASE)\w*(?<!_FILE)\s*=\s*\S/m

/** Where settings come from. The environment takes precedence over the file at `dotenv`. */
export type SettingsSource = { environment: Environment; dotenv: string }

/**
 * Reads the environment of this process and the `.env` of its working directory. This is the only place that
 * reads either (docs/decisions/0002). PostgreSQL's driver would read `PGPASSWORD`, `PGTARGETSESSIONATTRS` and
 * others, so they are removed from the environment.
 */
export function processSettings(): SettingsSource {
  for (const name of Object.keys(process.env)) if (name.startsWith('PG')) delete process.env[name]
  return { environment: process.env, dotenv: '.env' }
}

/**
 * Loads the effective settings.
 * @param terminal whether the process runs in a terminal, and whether a person reads its output
 */
export function loadConfig(
  source: SettingsSource,
  terminal: { isTerminal: boolean; isRead: boolean },
): ConfigResult {
  const dotenv = readDotenv(source.dotenv)
  if (typeof dotenv === 'object') return { faults: [dotenv.fault] }
  if (dotenv === undefined) return readConfig(source.environment, { ...terminal, readFile })
  const distrust = distrustOf(source.dotenv)
  if (distrust !== null) return { faults: [`${DOTENV} ${distrust}`] }
  const result = readConfig(source.environment, { ...terminal, readFile, dotenv })
  const exposure = SECRETS.test(dotenv) ? distrustOf(source.dotenv, OTHERS.readOrWrite) : null
  if ('config' in result && exposure !== null) result.warnings.push(`${DOTENV} holds secrets and ${exposure}`)
  return result
}

/**
 * Reads a mounted secret. Others may be able to read the file, as in a container, but not to write it
 * (docs/decisions/0032).
 */
function readFile(path: string): { text: string } | { fault: string } {
  const distrust = distrustOf(path)
  if (distrust !== null) return { fault: `the file ${path} ${distrust}` }
  try {
    return { text: readFileSync(path, 'utf8') }
  } catch (error) {
    return { fault: `the file ${path} cannot be read (${codeOf(error)})` }
  }
}

const codeOf = (error: unknown) => (error instanceof Error && 'code' in error ? error.code : String(error))

function readDotenv(path: string): string | undefined | { fault: string } {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = codeOf(error)
    // A directory with the name `.env` is not a settings file: Python's virtual environments often have this
    // name.
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return undefined
    return { fault: `${DOTENV} cannot be read (${code})` }
  }
}
