import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './free-port.ts'
import { until } from './until.ts'

/** A real Redis of the test's own; `pause` freezes it without closing its connections. */
export type TestRedis = {
  url: string
  pause(): void
  resume(): void
  kill(): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
}

/** Where the server is; null where it is not installed (Debian: apt-get install redis-server). */
export const REDIS_SERVER = Bun.which('redis-server')

/** Starts a Redis that keeps nothing on disk. */
export async function startRedis(): Promise<TestRedis> {
  const port = await freePort()
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-redis-'))
  const url = `redis://127.0.0.1:${port}`
  let server: Bun.Subprocess | null = null
  const start = async () => {
    const settings = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', directory]
    server = Bun.spawn([REDIS_SERVER ?? 'redis-server', ...settings], { stdout: 'ignore', stderr: 'ignore' })
    await until(
      async () => {
        const client = new Bun.RedisClient(url, { autoReconnect: false, connectionTimeout: 200 })
        return client.ping().then(
          () => {
            client.close()
            return true
          },
          () => false,
        )
      },
      'Redis answers',
      10_000,
    )
  }
  const kill = async () => {
    server?.kill('SIGKILL')
    await server?.exited
  }
  await start()
  return {
    url,
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
