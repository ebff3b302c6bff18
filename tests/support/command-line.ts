import { join } from 'node:path'
import { runCommandLine } from '../../src/cli/run.ts'

type Options = {
  /** The settings. The real environment is not read. */
  env?: Record<string, string>
  /** The directory with `.env`, and with `data` for an embedded database. Absent: there is neither. */
  directory?: string
  /** The whole standard input. */
  input?: string
  /** A person at the terminal gives these answers, one for each question, and then presses Ctrl-C. */
  answers?: readonly string[]
}

/** A file: there is nothing below it, and nothing can be created there. */
const NO_DIRECTORY = '/dev/null'

/**
 * Runs one command in this process. Not for `serve`, which listens for the signals of the process.
 * @param argv the words after the program's name
 * @example const { code, out } = await runInProcess(['users', 'list', '--json'], { env: { DATABASE_URL,
 *   SECRET_KEY } })
 */
export async function runInProcess(
  argv: readonly string[],
  { env = {}, directory = NO_DIRECTORY, input = '', answers }: Options = {},
): Promise<{ code: number; out: string; err: string }> {
  let out = ''
  let err = ''
  const typed = [...(answers ?? [])]
  const io = {
    isTerminal: answers !== undefined,
    isRead: false,
    out: async (text: string) => {
      out += text
    },
    err: (text: string) => {
      err += text
    },
    readAll: async () => input,
    askHidden: async (question: string) => {
      err += `${question}\n`
      return typed.shift() ?? null
    },
  }
  const environment = { DATA_DIR: join(directory, 'data'), ...env }
  const code = await runCommandLine(argv, io, { environment, dotenv: join(directory, '.env') })
  return { code, out, err }
}
