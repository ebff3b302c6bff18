import { readFileSync } from 'node:fs'

/** A program that serves, in a process of its own. */
export type ServerProcess = {
  /** Where it listens, without a slash at the end. */
  url: string
  /** The processor time that it has used, all its threads together, in seconds; null where the system doesn't tell. */
  cpuSeconds(): number | null
  /** Its resident memory in MB (10^6 bytes); null where the system doesn't tell. */
  residentMegabytes(): number | null
  stop(): Promise<void>
}

/** What is measured has one core, what measures it another. */
export const SERVER_CORE = 0
export const LOAD_CORE = 1

const START_MS = 30_000
/** Every Linux that runs here has 100. */
const TICKS_PER_SECOND = 100

/** The command line that runs a program on one core, where the system has a way to say so. */
export function onCore(core: number, command: readonly string[]): string[] {
  return Bun.which('taskset') ? ['taskset', '--cpu-list', String(core), ...command] : [...command]
}

/**
 * Starts a program on the servers' core, and waits for the line that says where it listens. Its output goes through a
 * pipe, as a container's does; only its first lines are looked at.
 * @param env all that it has of an environment, PATH aside
 * @throws Error with its output where it ends instead
 */
export async function startServerProcess(
  command: readonly string[],
  env: Record<string, string>,
): Promise<ServerProcess> {
  const child = Bun.spawn(onCore(SERVER_CORE, command), {
    env: { PATH: process.env.PATH ?? '', NODE_ENV: 'production', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  process.once('exit', () => child.kill('SIGKILL'))
  const timer = setTimeout(() => child.kill('SIGKILL'), START_MS)
  const url = await findAddress(child.stdout)
  clearTimeout(timer)
  if (url === null) throw new Error(`"${command.join(' ')}" did not start listening`)
  return {
    url,
    cpuSeconds: () => readCpuSeconds(child.pid),
    residentMegabytes: () => readResidentMegabytes(child.pid),
    async stop() {
      child.kill('SIGKILL')
      await child.exited
    },
  }
}

/** Reads on, and lets go of what it read, after the address too: a full pipe would stop the server. */
function findAddress(output: ReadableStream<Uint8Array>): Promise<string | null> {
  const decoder = new TextDecoder()
  return new Promise((resolve) => {
    let text: string | null = ''
    const read = async () => {
      for await (const chunk of output) {
        if (text === null) continue
        text += decoder.decode(chunk, { stream: true })
        const url = /Listening on (http:\/\/[^\s"]+)/.exec(text)?.[1]
        if (url === undefined) continue
        text = null
        resolve(url.replace(/\/$/, ''))
      }
      resolve(null)
    }
    void read()
  })
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
