import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { type Bed, startBed } from '../faults/bed.ts'
import { call, newKey } from '../support/client.ts'
import { parseExposition, valueIn } from '../support/exposition.ts'
import { CADDY, NGINX, nginxAround, type RunningProxy, startProxy } from '../support/proxy.ts'
import { REDIS_SERVER, startRedis, type TestRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

// Two instances on one machine behind one proxy, with the files of `deploy/`, as docs/cores.md describes.

const METRICS_TOKEN = 'qX7vB2mK9tQ4wZ8nR'
/** The bound of a revocation on another instance, with the delay that a busy machine may add. */
const ELSEWHERE_MS = 1000 + 500

const PROXIES = [
  {
    path: NGINX,
    recipe: {
      program: 'nginx',
      config: 'nginx.conf',
      files: { 'nginx.conf': nginxAround('cores.conf') },
      changes: [
        ['listen 443 ssl http2;', (port: number) => `listen 127.0.0.1:${port};`],
        ['ssl_certificate /etc/ssl/auth.example.com.pem;', () => ''],
        ['ssl_certificate_key /etc/ssl/auth.example.com.key;', () => ''],
        ['listen 80;', () => 'listen unix:plain.sock;'],
      ],
    },
  },
  {
    path: CADDY,
    recipe: {
      program: 'caddy',
      config: 'cores.Caddyfile',
      changes: [
        ['{\n\tservers {', () => '{\n\tadmin off\n\tservers {'],
        ['\nauth.example.com {', (port: number) => `\nhttp://127.0.0.1:${port} {\n\tbind 127.0.0.1`],
      ],
    },
  },
] as const

describe.skipIf(!REDIS_SERVER)(
  `an instance for each core${REDIS_SERVER ? '' : ' (skipped: apt-get install redis-server)'}`,
  () => {
    let redis: TestRedis
    let bed: Bed
    beforeAll(async () => {
      redis = await startRedis()
      const env = { REDIS_URL: redis.socketUrl, TRUSTED_PROXIES: '127.0.0.1', METRICS_TOKEN }
      bed = await startBed({ servers: 2, env })
    })
    afterAll(async () => {
      await bed?.[Symbol.asyncDispose]()
      await redis?.stop()
    })

    const metrics = () =>
      Promise.all(
        bed.places.map(async ({ url }) =>
          parseExposition((await call({ url }, 'GET /metrics', { bearer: METRICS_TOKEN })).text),
        ),
      )
    /** How many requests of /auth/me each instance has answered since its start. */
    const answered = async () =>
      (await metrics()).map((families) =>
        (families.get('latchkey_requests_total')?.samples ?? [])
          .filter(({ labels }) => labels.route === '/auth/me')
          .reduce((sum, { value }) => sum + value, 0),
      )
    const redisState = async (name: string) => (await metrics()).map((families) => valueIn(families, name))
    const countedAlone = async () =>
      (await redisState('latchkey_redis_fallbacks_total')).reduce((sum, each) => (sum ?? 0) + (each ?? 0), 0)

    describe.each([...PROXIES])('behind $recipe.program', ({ path, recipe }) => {
      const missing = path ? '' : ` (skipped: apt-get install ${recipe.program})`
      let front: RunningProxy
      beforeAll(async () => {
        if (!path) return
        const ports = bed.places.map(({ url }) => new URL(url).port)
        const changes = ['127.0.0.1:8001', '127.0.0.1:8002'].map(
          (from, at) => [from, () => `127.0.0.1:${ports[at]}`] as const,
        )
        front = await startProxy({ ...recipe, changes: [...recipe.changes, ...changes] }, 0)
      })
      afterAll(() => front?.stop())

      const use = (key: string) => call(front, 'GET /auth/me', { apiKey: key })

      test.skipIf(!path)(`both share the requests and the limits of a key${missing}`, async () => {
        const isShared = async () => {
          const { key } = await newKey(front, bed.admin, { rate_limit: { limit: 40, window_seconds: 3600 } })
          const [before, alone] = [await answered(), await countedAlone()]
          const statuses: number[] = []
          for (let round = 0; round < 10; round++)
            statuses.push(
              ...(await Promise.all(Array.from({ length: 6 }, () => use(key)))).map((a) => a.status),
            )
          // An instance counts alone where Redis does not answer within 50 ms, as on a busy machine.
          if ((await countedAlone()) !== alone) return false
          expect(statuses.filter((status) => status === 200)).toHaveLength(40)
          expect(statuses.filter((status) => status === 429)).toHaveLength(20)
          const after = await answered()
          for (const [at, count] of after.entries()) expect(count - (before[at] ?? 0)).toBeGreaterThan(5)
          return true
        }
        await until(isShared, 'the limit is counted in Redis', 60_000)
      })

      test.skipIf(!path)(`a revocation holds on both${missing}`, async () => {
        const { key, id } = await newKey(front, bed.admin)
        for (const { url } of bed.places)
          expect((await call({ url }, 'GET /auth/me', { apiKey: key })).status).toBe(200)
        expect((await call(front, `DELETE /keys/revoke/${id}`, { bearer: bed.admin })).status).toBe(200)
        const isRefused = async () => {
          const answers = await Promise.all(
            bed.places.map(({ url }) => call({ url }, 'GET /auth/me', { apiKey: key })),
          )
          return answers.every(({ status }) => status === 401)
        }
        await until(isRefused, 'both refuse the key', ELSEWHERE_MS)
      })

      test.skipIf(!path)(`no request fails while one ends in order and starts again${missing}`, async () => {
        const { key } = await newKey(front, bed.admin)
        const [first] = bed.places
        let isOn = true
        const statuses: number[] = []
        const asking = Array.from({ length: 4 }, async () => {
          while (isOn) statuses.push((await use(key)).status)
        })
        try {
          await first?.end('SIGTERM')
          const atEnd = statuses.length
          await until(async () => statuses.length > atEnd + 20, 'the other one answers')
          await first?.start()
          const [before = 0] = await answered()
          await until(async () => ((await answered())[0] ?? 0) > before, 'it gets requests again')
        } finally {
          isOn = false
          await Promise.all(asking)
        }
        expect(statuses.filter((status) => status !== 200)).toEqual([])
      })
    })

    test('both count in Redis, by its Unix socket', async () => {
      const isWhole = async () => (await redisState('latchkey_redis_broken')).every((each) => each === 0)
      await until(isWhole, 'both use Redis')
      const client = new Bun.RedisClient(redis.url)
      expect(await client.send('DBSIZE', [])).toBeGreaterThan(0)
      client.close()
    })
  },
)

test('an instance of the systemd template is shut in as the single one is', async () => {
  const linesOf = async (file: string) =>
    (await Bun.file(join(import.meta.dir, '../../deploy', file)).text())
      .split('\n')
      .filter((line) =>
        /^(NoNew|Capab|Ambient|Lock|Private|Protect|Remove|Restrict|SystemCall|UMask|Dynamic)/.test(line),
      )
  const single = await linesOf('latchkey.service')
  expect(single.length).toBeGreaterThan(15)
  expect(await linesOf('latchkey@.service')).toEqual(single)
})
