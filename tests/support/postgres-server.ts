import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, mkdtempSync, writeFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { binariesOf, NEWEST, type PostgresVersion } from './postgres-binaries.ts'

/** The address of a PostgreSQL for tests. The superuser is `postgres`, and every password is accepted. */
export type ServerAddress = {
  port: number
  /** The URL of one of its databases. */
  url(database: string, user?: string): string
}

/** A test's own PostgreSQL. */
export type PostgresServer = ServerAddress & {
  /** The data directory. */
  directory: string
  /** Starts the server again on the same port and data. */
  start(): Promise<void>
  /** Shuts the server down normally. Open connections are cut. */
  stop(): Promise<void>
  /** `kill -9`, as in a crash. */
  kill(): Promise<void>
  /** SIGSTOP to every process of the server: connections stay open and no query is answered. */
  pause(): void
  resume(): void
  /** Stops the server and removes its data. */
  remove(): Promise<void>
}

/** The address of a server on that port of 127.0.0.1. */
export const addressOn = (port: number): ServerAddress => ({
  port,
  url: (database, user = 'postgres') => `postgres://${user}:any@127.0.0.1:${port}/${database}`,
})

/** PostgreSQL refuses to run as root. The user id 65534 exists on every system. */
const UNPRIVILEGED = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}

const FAST_SETTINGS = ['fsync=off', 'full_page_writes=off', 'autovacuum=off', 'shared_buffers=64MB']

/**
 * Creates a data directory and starts a server in it on a free port of 127.0.0.1, in about a second. The
 * server ends together with this process, however that ends. `settings` are lines such as
 * `max_connections=20`.
 * @param follows the server of which this one becomes a standby; it is started again for that
 */
export async function startServer({
  version = NEWEST,
  settings = [],
  follows,
}: {
  version?: PostgresVersion
  settings?: readonly string[]
  follows?: PostgresServer
} = {}): Promise<PostgresServer> {
  const bin = binariesOf(version)
  const home = mkdtempSync(join(tmpdir(), 'latchkey-postgres-'))
  if (UNPRIVILEGED.uid !== undefined) chownSync(home, UNPRIVILEGED.uid, UNPRIVILEGED.gid)
  const directory = join(home, 'data')
  const guard = guardAgainstOrphans(home, directory)
  if (follows) await copyServer(follows, directory)
  else {
    const options = ['-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync']
    await run(join(bin, 'initdb'), ['-D', directory, ...options])
  }

  const port = await freePort()
  let child: ChildProcess | null = null
  let output = ''

  const start = async () => {
    const all = [...FAST_SETTINGS, 'max_connections=200', ...settings].flatMap((setting) => ['-c', setting])
    const place = ['-D', directory, '-p', String(port), '-h', '127.0.0.1', '-k', '']
    // After a crash, remaining processes may hold the shared memory a little longer.
    for (let attempt = 1; ; attempt++) {
      output = ''
      child = spawn(join(bin, 'postgres'), [...place, ...all], {
        ...UNPRIVILEGED,
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      letGo(child)
      const ended = once(child, 'exit').then(() => false)
      const ready = new Promise<boolean>((resolve) => {
        child?.stderr?.on('data', (text) => {
          output += text
          if (/ready to accept (read-only )?connections/.test(output)) resolve(true)
        })
      })
      if (await Promise.race([ready, ended])) return
      if (attempt === 20) throw new Error(`PostgreSQL did not start:\n${output}`)
      await Bun.sleep(100)
    }
  }
  const end = async (signal: (pid: number | undefined) => void) => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    signal(child.pid)
    await ended
    child = null
  }
  await start()

  return {
    ...addressOn(port),
    directory,
    start,
    stop: () => end((pid) => pid && process.kill(pid, 'SIGINT')),
    // All processes, because the backends would survive the postmaster until their next answer.
    kill: () => end((pid) => signalAll(pid, 'SIGKILL')),
    pause: () => signalAll(child?.pid, 'SIGSTOP'),
    resume: () => signalAll(child?.pid, 'SIGCONT'),
    remove: async () => {
      signalAll(child?.pid, 'SIGCONT')
      const gone = once(guard, 'exit')
      guard.stdin?.end()
      await gone
    },
  }
}

/** Copies the data of a server while it is shut down, so that the copy follows it from its next start on. */
async function copyServer(from: PostgresServer, directory: string): Promise<void> {
  await from.stop()
  await run('cp', ['-R', from.directory, directory])
  await from.start()
  const source = `host=127.0.0.1 port=${from.port} user=postgres application_name=standby`
  for (const [file, text] of [
    ['standby.signal', ''],
    ['postgresql.auto.conf', `primary_conninfo = '${source}'\n`],
  ] as const) {
    writeFileSync(join(directory, file), text)
    if (UNPRIVILEGED.uid !== undefined) chownSync(join(directory, file), UNPRIVILEGED.uid, UNPRIVILEGED.gid)
  }
}

/**
 * A shell that waits until its standard input is closed. The kernel closes it when this process ends, also by
 * SIGKILL. Then the shell ends the server and removes its directory.
 */
function guardAgainstOrphans(home: string, directory: string): ChildProcess {
  const script = `trap "" INT TERM HUP
cat >/dev/null
for i in 1 2 3 4 5 6 7 8 9 10; do
  read pid <"$2/postmaster.pid" && kill -CONT "-$pid" "$pid"; kill -QUIT "$pid"
  rm -rf "$1" && exit
  sleep 0.2
done 2>/dev/null`
  const guard = spawn('/bin/sh', ['-c', script, 'sh', home, directory], {
    ...UNPRIVILEGED,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  letGo(guard)
  return guard
}

/** Neither the child nor its pipes keep this process alive. */
function letGo(child: ChildProcess): void {
  child.unref()
  for (const pipe of [child.stdin, child.stderr]) if (pipe && 'unref' in pipe) (pipe as Socket).unref()
}

/** Every process of the server. The postmaster is the parent of the backends. */
function signalAll(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  const children = Bun.spawnSync(['pgrep', '-P', String(pid)])
    .stdout.toString()
    .split('\n')
    .filter(Boolean)
  for (const each of [pid, ...children.map(Number)]) {
    try {
      process.kill(each, signal)
    } catch {
      // The process has ended in the meantime.
    }
  }
}

async function run(file: string, args: string[]): Promise<void> {
  const child = spawn(file, args, { ...UNPRIVILEGED, stdio: ['ignore', 'ignore', 'pipe'] })
  let errors = ''
  child.stderr.on('data', (text) => {
    errors += text
  })
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`${file} failed:\n${errors}`)
}
