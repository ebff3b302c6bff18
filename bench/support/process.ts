import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'

/** A server in its own process. */
export type ServerProcess = {
  /** Its base URL, without a trailing slash. */
  url: string
  /** What the program printed before it listened. */
  announcement: string
  /** The processor time of all its threads so far, in seconds. null where the system does not report it. */
  cpuSeconds(): number | null
  /** Its resident memory in MB (10^6 bytes). null where the system does not report it. */
  residentMegabytes(): number | null
  /** Empties the file that its output goes to. */
  forgetOutput(): void
  /** Ends the process. SIGTERM gives it ten seconds for an orderly end. */
  stop(signal?: 'SIGKILL' | 'SIGTERM'): Promise<void>
  /** `await using server = …` ends the server even if an entry fails. */
  [Symbol.asyncDispose](): Promise<void>
}

/** The measured server has one core, the load generator another. */
const SERVER_CORE = 0
export const LOAD_CORE = 1
/**
 * PostgreSQL's core: a third one if the machine has it, else the generator's, so that the measured server
 * shares its core with nothing.
 */
export const DATABASE_CORE = availableParallelism() > 2 ? 2 : LOAD_CORE

/** Programs make their keys before they listen, up to a million. */
const START_MS = 120_000
const END_MS = 10_000
/** The clock ticks of Linux on all machines that run the bench. */
const TICKS_PER_SECOND = 100

const canPin = Bun.which('taskset') !== null && availableParallelism() > 1

/** The command line that runs a program on one core, if the system has more than one and a tool for it. */
export function onCore(core: number, command: readonly string[]): string[] {
  return canPin ? ['taskset', '--cpu-list', String(core), ...command] : [...command]
}

/** Moves a running process to a core. Processes that it starts later follow. */
export function moveToCore(core: number, pid: number): void {
  if (canPin) Bun.spawnSync(['taskset', '--cpu-list', '--pid', String(core), String(pid)])
}

/**
 * Starts a program on the server's core, and waits for the line that says where it listens. Its output goes
 * to a file, so that writing costs as much as in production, and no reader uses the generator's core or makes
 * the server wait.
 * @param env its whole environment except PATH
 * @param isPinned false: it may use every core, for work of more than one thread
 * @throws Error with its output if it ends before it listens
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

/**
 * The processor time of a process with all its threads, in seconds. null where the system does not report it.
 */
function cpuSecondsOf(pid: number): number | null {
  const fields = statOf(pid)
  return fields && (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/**
 * The processor time of a process and its children, also of those that have ended, in seconds. null where the system
 * does not report it.
 */
export function familyCpuSeconds(pid: number): number | null {
  const own = statOf(pid)
  if (own === null) return null
  const living = readdirSync('/proc').filter((name) => statOf(name)?.[1] === String(pid))
  const ended = (Number(own[13]) + Number(own[14])) / TICKS_PER_SECOND
  return [String(pid), ...living].reduce((sum, each) => sum + (cpuSecondsOf(Number(each)) ?? 0), ended)
}

/**
 * The fields of /proc/PID/stat after the program's name, which may contain any character. State is 0, parent
 * 1, utime 11, stime 12, those of ended children 13 and 14.
 */
function statOf(pid: number | string): string[] | null {
  if (!/^\d+$/.test(String(pid))) return null
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? null
  } catch {
    return null
  }
}

/** The resident memory of a process in MB (10^6 bytes). null where the system does not report it. */
function residentMegabytesOf(pid: number): number | null {
  try {
    const kibibytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return kibibytes === undefined ? null : (Number(kibibytes) * 1024) / 1e6
  } catch {
    return null
  }
}

/** @throws Error where the system does not report it */
export function megabytesOf({ residentMegabytes }: Pick<ServerProcess, 'residentMegabytes'>): number {
  const megabytes = residentMegabytes()
  if (megabytes === null) throw new Error('This system does not tell how much memory a process holds')
  return megabytes
}
