import { readFileSync } from 'node:fs'
import { type ConfigResult, readConfig } from './read.ts'
import type { Environment } from './reader.ts'

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
  return readConfig(source.environment, { isTerminal, ...(dotenv !== undefined && { dotenv }) })
}

function readDotenv(path: string): string | undefined | { fault: string } {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : null
    // A directory of that name (Python's virtual environments are often called so) is not ours.
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return undefined
    return { fault: `.env in the working directory cannot be read (${code ?? error})` }
  }
}
