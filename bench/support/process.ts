import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A program that serves, in a process of its own. */
export type ServerProcess = {
  /** Where it listens, without a slash at the end. */
  url: string
  /** The processor time that it has used, all its threads together, in seconds; null where the system doesn't tell. */
  cpuSeconds(): number | null
  /** Its resident memory in MB (10^6 bytes); null where the system doesn't tell. */
  residentMegabytes(): number | null
  /** Empties the file that its output goes to. */
  forgetOutput(): void
  stop(): Promise<void>
}

/** What is measured has one core, what measures it another. */
const SERVER_CORE = 0
export const LOAD_CORE = 1

const START_MS = 30_000
/** Every Linux that runs here has 100. */
const TICKS_PER_SECOND = 100

/** The command line that runs a program on one core, where the system has a way to say so. */
export function onCore(core: number, command: readonly string[]): string[] {
  return Bun.which('taskset') ? ['taskset', '--cpu-list', String(core), ...command] : [...command]
}

/**
 * Starts a program on the servers' core, and waits for the line that says where it listens. Its output goes to a file:
 * what it writes costs what it costs, and no reader takes the generator's core or makes the server wait.
 * @param env all that it has of an environment, PATH aside
 * @throws Error with its output where it ends instead
 */
export async function startServerProcess(
  command: readonly string[],
  env: Record<string, string>,
): Promise<ServerProcess> {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
  const path = join(directory, 'output')
  const output = openSync(path, 'a')
  const child = Bun.spawn(onCore(SERVER_CORE, command), {
    env: { PATH: process.env.PATH ?? '', NODE_ENV: 'production', ...env },
    stdio: ['ignore', output, 'inherit'],
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
    if (url !== undefined) return running(child.pid, url.replace(/\/$/, ''))
    if (child.exitCode !== null || Date.now() > givesUpAt) {
      throw new Error(`"${command.join(' ')}" did not start listening:\n${text}`)
    }
    await Bun.sleep(20)
  }

  function running(pid: number, url: string): ServerProcess {
    return {
      url,
      cpuSeconds: () => readCpuSeconds(pid),
      residentMegabytes: () => readResidentMegabytes(pid),
      forgetOutput: () => truncateSync(path),
      async stop() {
        end()
        await child.exited
        process.off('exit', end)
      },
    }
  }
}

function readCpuSeconds(pid: number): number | null {
  try {
    // Counted from behind the name, which may hold anything: state is 0, utime 11, stime 12.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
  } catch {
    return null
  }
}

function readResidentMegabytes(pid: number): number | null {
  try {
    const kibibytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return kibibytes === undefined ? null : (Number(kibibytes) * 1024) / 1e6
  } catch {
    return null
  }
}
