import { readFileSync } from 'node:fs'
import { type ConfigResult, readConfig } from './read.ts'

/**
 * The settings of this process: its environment over the `.env` of its working directory. Nothing else reads either.
 * @param isTerminal whether a person sits in front of it
 */
export function loadConfig(isTerminal: boolean): ConfigResult {
  const dotenv = readDotenv('.env')
  if (typeof dotenv === 'object') return { faults: [dotenv.fault] }
  return readConfig(process.env, { isTerminal, ...(dotenv !== undefined && { dotenv }) })
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
