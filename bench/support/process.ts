import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'

/** A program that serves, in a process of its own. */
export type ServerProcess = {
  /** Where it listens, without a slash at the end. */
  url: string
  /** What it said before it listened. */
  announcement: string
  /** The processor time that it has used, all its threads together, in seconds; null where the system doesn't tell. */
  cpuSeconds(): number | null
  /** Its resident memory in MB (10^6 bytes); null where the system doesn't tell. */
  residentMegabytes(): number | null
  /** Empties the file that its output goes to. */
  forgetOutput(): void
  /** SIGTERM gives it ten seconds to end in its own way, before it is ended. */
  stop(signal?: 'SIGKILL' | 'SIGTERM'): Promise<void>
  /** `await using server = …`: an entry that fails leaves none behind. */
  [Symbol.asyncDispose](): Promise<void>
}

/** What is measured has one core, what measures it another. */
const SERVER_CORE = 0
export const LOAD_CORE = 1
/** PostgreSQL's: a third where there is one, else the generator's, so that what is measured has its own for itself. */
export const DATABASE_CORE = availableParallelism() > 2 ? 2 : LOAD_CORE

const START_MS = 30_000
const END_MS = 10_000
/** Every Linux that runs here has 100. */
const TICKS_PER_SECOND = 100

const canPin = Bun.which('taskset') !== null && availableParallelism() > 1

/** The command line that runs a program on one core, where the system has a way to say so, and another core. */
export function onCore(core: number, command: readonly string[]): string[] {
  return canPin ? ['taskset', '--cpu-list', String(core), ...command] : [...command]
}

/** Moves a process that runs already; what it starts from here on follows it. */
export function moveToCore(core: number, pid: number): void {
  if (canPin) Bun.spawnSync(['taskset', '--cpu-list', '--pid', String(core), String(pid)])
}

/**
 * Starts a program on the servers' core, and waits for the line that says where it listens. Its output goes to a file:
 * what it writes costs what it costs, and no reader takes the generator's core or makes the server wait.
 * @param env all that it has of an environment, PATH aside
 * @param isPinned false: it has every core, for what is more than one thread's work
 * @throws Error with its output where it ends instead
 */
export async function startServerProcess(
  command: readonly string[],
  env: Record<string, string> = {},
  isPinned = true,
): Promise<ServerProcess> {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
  const path = join(directory, 'output')
  const output = openSync(path, 'a')
  const child = Bun.spawn(isPinned ? onCore(SERVER_CORE, command) : [...command], {
    env: { PATH: process.env.PATH ?? '', NODE_ENV: 'production', ...env },
    stdio: ['ignore', output, output],
  })
  closeSync(output)
  const end = () => {
    child.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  }
  process.once('exit', end)
  const givesUpAt = Date.now() + START_MS
  for (;;) {
    const text = readFileSync(path, 'utf8')
    const url = /Listening on (http:\/\/[^\s"]+)/.exec(text)?.[1]
    if (url !== undefined) return running(url.replace(/\/$/, ''), text)
    if (child.exitCode !== null || Date.now() > givesUpAt) {
      end()
      throw new Error(`"${command.join(' ')}" did not start listening:\n${text}`)
    }
    await Bun.sleep(20)
  }

  function running(url: string, announcement: string): ServerProcess {
    return {
      url,
      announcement,
      cpuSeconds: () => cpuSecondsOf(child.pid),
      residentMegabytes: () => residentMegabytesOf(child.pid),
      forgetOutput: () => truncateSync(path),
      async stop(signal = 'SIGKILL') {
        child.kill(signal)
        await Promise.race([child.exited, Bun.sleep(END_MS)])
        end()
        await child.exited
        process.off('exit', end)
      },
      [Symbol.asyncDispose]() {
        return this.stop()
      },
    }
  }
}

/** The processor time that a process has used, all its threads together, in seconds; null where nobody knows. */
function cpuSecondsOf(pid: number): number | null {
  const fields = statOf(pid)
  return fields && (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** The same of a process and its living children. */
export function familyCpuSeconds(pid: number): number | null {
  const own = cpuSecondsOf(pid)
  if (own === null) return null
  const children = readdirSync('/proc').filter((name) => statOf(name)?.[1] === String(pid))
  return children.reduce((sum, child) => sum + (cpuSecondsOf(Number(child)) ?? 0), own)
}

/** Counted from behind the name, which may hold anything: state is 0, parent 1, utime 11, stime 12. */
function statOf(pid: number | string): string[] | null {
  if (!/^\d+$/.test(String(pid))) return null
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? null
  } catch {
    return null
  }
}

/** The resident memory of a process in MB (10^6 bytes); null where nobody knows. */
function residentMegabytesOf(pid: number): number | null {
  try {
    const kibibytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return kibibytes === undefined ? null : (Number(kibibytes) * 1024) / 1e6
  } catch {
    return null
  }
}
