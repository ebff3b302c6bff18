import { readFileSync } from 'node:fs'
import { type ConfigResult, readConfig } from './read.ts'
import type { Environment } from './reader.ts'

/** Where settings come from: an environment, which wins over the file at `dotenv`. */
export type SettingsSource = { environment: Environment; dotenv: string }

/** The environment of this process and the `.env` of its working directory. Nothing else reads either. */
export function processSettings(): SettingsSource {
  return { environment: process.env, dotenv: '.env' }
}

/**
 * The settings in force.
 * @param terminal whether a person sits in front of the process, and whether a person reads its output
 */
export function loadConfig(
  source: SettingsSource,
  terminal: { isTerminal: boolean; isRead: boolean },
): ConfigResult {
  const dotenv = readDotenv(source.dotenv)
  if (typeof dotenv === 'object') return { faults: [dotenv.fault] }
  return readConfig(source.environment, { ...terminal, readFile, ...(dotenv !== undefined && { dotenv }) })
}

/** A mounted secret. */
function readFile(path: string): { text: string } | { fault: string } {
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
    // A directory of that name (Python's virtual environments are often called so) is not ours.
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return undefined
    return { fault: `.env in the working directory cannot be read (${code})` }
  }
}
