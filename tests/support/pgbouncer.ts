import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { until } from './until.ts'

/** A test's own PgBouncer in front of a PostgreSQL. */
export type TestPooler = {
  url(database: string): string
  /** Ends PgBouncer with all connections through it, and starts it again on the same port. */
  restart(): Promise<void>
  stop(): Promise<void>
}

/** The path of PgBouncer. null if it is not installed (Debian: apt-get install pgbouncer). */
export const PGBOUNCER = Bun.which('pgbouncer', { PATH: `${process.env.PATH}:/usr/sbin` })

/** PgBouncer refuses to run as root. */
const UNPRIVILEGED = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}

const SHIPPED = join(import.meta.dir, '../../deploy/pgbouncer/pgbouncer.ini')

/** Starts a PgBouncer with the settings in `deploy/`, except where `settings` replaces them. */
export async function startPgbouncer(
  server: { port: number },
  settings: Record<string, string | number> = {},
): Promise<TestPooler> {
  const port = await freePort()
  const home = mkdtempSync(join(tmpdir(), 'latchkey-pgbouncer-'))
  const users = join(home, 'users.txt')
  writeFileSync(users, '"postgres" "any"\n')
  const own = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_file: users,
    ...settings,
  }
  const text = configure(await Bun.file(SHIPPED).text(), server.port, own)
  const file = join(home, 'pgbouncer.ini')
  writeFileSync(file, text)
  if (UNPRIVILEGED.uid !== undefined)
    for (const path of [home, users, file]) chownSync(path, UNPRIVILEGED.uid, UNPRIVILEGED.gid)
  let child: Bun.Subprocess | null = null
  const start = async () => {
    child = Bun.spawn([PGBOUNCER ?? 'pgbouncer', file], {
      ...UNPRIVILEGED,
      stdout: 'ignore',
      stderr: 'ignore',
    })
    await until(() => answers(port), 'PgBouncer listens')
  }
  const kill = async () => {
    child?.kill('SIGKILL')
    await child?.exited
  }
  process.once('exit', () => child?.kill('SIGKILL'))
  await start()
  return {
    url: (database) => `postgres://postgres:any@127.0.0.1:${port}/${database}`,
    async restart() {
      await kill()
      await start()
    },
    async stop() {
      await kill()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

/** The file in `deploy/` with the database on another port and with `settings` applied. */
function configure(shipped: string, port: number, settings: Record<string, string | number>): string {
  const left = new Map(Object.entries(settings))
  const lines = shipped.split('\n').map((line) => {
    const name = /^(\*|\w+) *=/.exec(line)?.[1]
    const value = name === undefined ? undefined : left.get(name)
    if (name === undefined || value === undefined) return line
    left.delete(name)
    return `${name} = ${value}`
  })
  const added = [...left].map(([name, value]) => `${name} = ${value}`)
  return [...lines, ...added, ''].join('\n').replace(/^(\* = .*port=)5432/m, `$1${port}`)
}

async function answers(port: number): Promise<boolean> {
  const open = () => {}
  return Bun.connect({ hostname: '127.0.0.1', port, socket: { data: open } }).then(
    (socket) => {
      socket.end()
      return true
    },
    () => false,
  )
}
