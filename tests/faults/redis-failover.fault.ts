import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { call, newKey } from '../support/client.ts'
import { freePort } from '../support/free-port.ts'
import { REDIS_SERVER, startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { type Bed, startBed } from './bed.ts'
import type { Fault } from './fault.ts'
import { underLoad } from './load.ts'

const SHIPPED = join(import.meta.dir, '../../deploy/redis')
const HAPROXY = Bun.which('haproxy', { PATH: `${process.env.PATH}:/usr/sbin` })

/** The files of `deploy/redis` on loopback: a primary, a replica, Sentinel, and HAProxy before both. */
async function startRedisPair() {
  const home = mkdtempSync(join(tmpdir(), 'latchkey-redis-pair-'))
  const primary = await startRedis()
  const { port: primaryPort } = new URL(primary.url)
  const replica = await startRedis([['replicaof', `127.0.0.1 ${primaryPort}`]])
  const { port: replicaPort } = new URL(replica.url)
  const [port, sentinelPort] = [await freePort(), await freePort()]
  const write = (name: string, change: (text: string) => string) => {
    const file = join(home, name)
    writeFileSync(file, change(readFileSync(join(SHIPPED, name), 'utf8')))
    return file
  }
  const haproxy = write('haproxy.cfg', (text) =>
    text
      .replace('bind 127.0.0.1:6380', `bind 127.0.0.1:${port}`)
      .replace('10.0.0.11:6379', `127.0.0.1:${primaryPort}`)
      .replace('10.0.0.12:6379', `127.0.0.1:${replicaPort}`),
  )
  const sentinel = write('sentinel.conf', (text) =>
    text
      .replace('port 26379', `port ${sentinelPort}\nbind 127.0.0.1\ndir ${home}`)
      .replace('10.0.0.11 6379 2', `127.0.0.1 ${primaryPort} 1`),
  )
  const children = [
    Bun.spawn([HAPROXY ?? 'haproxy', '-db', '-f', haproxy], { stdout: 'ignore', stderr: 'ignore' }),
    Bun.spawn([REDIS_SERVER ?? 'redis-server', sentinel, '--sentinel'], {
      stdout: 'ignore',
      stderr: 'ignore',
    }),
  ]
  process.once('exit', () => {
    for (const child of children) child.kill('SIGKILL')
  })
  return {
    url: `redis://127.0.0.1:${port}`,
    primary,
    async [Symbol.asyncDispose]() {
      for (const child of children) {
        child.kill('SIGKILL')
        await child.exited
      }
      await replica.stop()
      await primary.stop()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

/** Whether the two servers count a key's uses together: its one use at the first is its last at the second. */
async function isShared({ places, admin }: Bed): Promise<boolean> {
  const [first, second] = places
  if (!first || !second) throw new Error('two servers are needed')
  const { key } = await newKey(first, admin, {
    scopes: 'read',
    rate_limit: { limit: 1, window_seconds: 600 },
  })
  const use = (url: string) => call({ url }, 'GET /auth/me', { apiKey: key })
  return (await use(first.url)).status === 200 && (await use(second.url)).status === 429
}

/** The primary of a Redis is killed, and Sentinel makes the replica the primary. No client notices. */
export const fault: Fault = {
  name: 'redis: the primary killed, behind HAProxy and Sentinel',
  roundSeconds: 40,
  isFelt: false,
  isLong: true,
  lacks: HAPROXY ? (REDIS_SERVER ? null : 'redis-server') : 'haproxy',
  async run() {
    await using pair = await startRedisPair()
    await using bed = await startBed({ servers: 2, env: { REDIS_URL: pair.url } })
    let turn = 0
    const pick = () => bed.places[turn++ % bed.places.length]?.url ?? ''
    await until(() => isShared(bed), 'the limits are shared', 60_000)
    return await underLoad(
      bed,
      async ({ calm, checker }) => {
        await calm(1000)
        const began = performance.now()
        await pair.primary.kill()
        // Each server now counts by itself, so both let the use in.
        if (await isShared(bed)) checker.violate('limits are shared without Redis')
        await until(() => isShared(bed), 'the limits are shared again', 60_000)
        checker.note(
          `limits were shared again ${Math.round(performance.now() - began)} ms after the primary was killed`,
        )
      },
      { pick },
    )
  },
}
