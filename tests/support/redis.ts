import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { until } from './until.ts'

/** A test's own Redis. `pause` freezes it without closing its connections. */
export type TestRedis = {
  url: string
  /** The same Redis by its Unix socket. */
  socketUrl: string
  pause(): void
  resume(): void
  kill(): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
}

/** The path of the server. null if it is not installed (Debian: apt-get install redis-server). */
export const REDIS_SERVER = Bun.which('redis-server')

/**
 * Starts a Redis that stores nothing on disk.
 * @param directives further directives of its configuration, each with a name and a value
 */
export async function startRedis(
  directives: readonly (readonly [string, string])[] = [],
): Promise<TestRedis> {
  const port = await freePort()
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-redis-'))
  const url = `redis://127.0.0.1:${port}`
  let server: Bun.Subprocess | null = null
  const start = async () => {
    const own = [
      ['port', port],
      ['bind', '127.0.0.1'],
      ['save', '""'],
      ['dir', directory],
      ['unixsocket', join(directory, 'redis.sock')],
    ]
    const file = join(directory, 'redis.conf')
    await Bun.write(file, [...own, ...directives].map((directive) => `${directive.join(' ')}\n`).join(''))
    server = Bun.spawn([REDIS_SERVER ?? 'redis-server', file], { stdout: 'ignore', stderr: 'ignore' })
    await until(async () => {
      // A Redis that asks for a password is ready at its first answer, whatever the answer is.
      const socket = await Bun.connect({ hostname: '127.0.0.1', port, socket: { data() {} } }).catch(
        () => null,
      )
      socket?.end()
      return socket !== null
    }, 'Redis answers')
  }
  const kill = async () => {
    server?.kill('SIGKILL')
    await server?.exited
  }
  await start()
  return {
    url,
    socketUrl: `redis+unix://${join(directory, 'redis.sock')}`,
    start,
    kill,
    pause: () => server?.kill('SIGSTOP'),
    resume: () => server?.kill('SIGCONT'),
    async stop() {
      await kill()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
