import { readFileSync } from 'node:fs'
import { type ConfigResult, readConfig } from './read.ts'
import type { Environment } from './reader.ts'
import { distrustOf, OTHERS } from './trust.ts'

const DOTENV = '.env in the working directory'
/** A line that sets a secret; a URL holds a password. */
const SECRETS =
  /^\s*(?:export\s+)?(?:SECRET_KEY|ADMIN_PASSWORD|METRICS_TOKEN|DATABASE_URL|DATABASE_DIRECT_URL|REDIS_URL)\w*\s*=\s*\S/m

/** Where settings come from: an environment, which wins over the file at `dotenv`. */
export type SettingsSource = { environment: Environment; dotenv: string }

/**
 * The environment of this process and the `.env` of its working directory. Nothing else reads either: the driver of
 * PostgreSQL would take `PGPASSWORD`, `PGTARGETSESSIONATTRS` and others from the environment, so they are removed.
 */
export function processSettings(): SettingsSource {
  for (const name of Object.keys(process.env)) if (name.startsWith('PG')) delete process.env[name]
  return { environment: process.env, dotenv: '.env' }
}

/**
 * The settings in force.
 * @param isTerminal whether a person sits in front of the process
 */
export function loadConfig(source: SettingsSource, isTerminal: boolean): ConfigResult {
  const dotenv = readDotenv(source.dotenv)
  if (typeof dotenv === 'object') return { faults: [dotenv.fault] }
  if (dotenv === undefined) return readConfig(source.environment, { isTerminal })
  const distrust = distrustOf(source.dotenv)
  if (distrust !== null) return { faults: [`${DOTENV} ${distrust}`] }
  const result = readConfig(source.environment, { isTerminal, dotenv })
  const exposure = SECRETS.test(dotenv) ? distrustOf(source.dotenv, OTHERS.readOrWrite) : null
  if ('config' in result && exposure !== null) result.warnings.push(`${DOTENV} holds secrets and ${exposure}`)
  return result
}

function readDotenv(path: string): string | undefined | { fault: string } {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null
    // A directory of that name (Python's virtual environments are often called so) is not ours.
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return undefined
    return { fault: `${DOTENV} cannot be read (${code ?? error})` }
  }
}
