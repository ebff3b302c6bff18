import { availableParallelism } from 'node:os'
import { NGINX, nginxAround, startProxy } from '../../tests/support/proxy.ts'
import {
  type Contender,
  comparison,
  describeSamples,
  type Sample,
  takeTurns,
  turnsSeconds,
  underLoad,
  weigh,
  withRefill,
} from '../support/compare.ts'
import type { Entry, Finding } from '../support/entry.ts'
import { startLatchkey, verification } from '../support/latchkey.ts'
import { askEach, type LoadRequest, putLoad } from '../support/load.ts'
import { familyCpuSeconds, type ServerProcess } from '../support/process.ts'
import { insertKeys, insertPeople } from '../support/rows.ts'

/** Two instances behind nginx with the file of `deploy/`, against one instance without a proxy. */
export const cores: Entry = {
  name: 'cores',
  estimateSeconds: (options) => turnsSeconds(withRefill(options), 3) + 30,
  async run(options) {
    if (!NGINX) throw new Error('nginx is missing: apt-get install nginx')
    await using latchkey = await startLatchkey(options, {
      isPinned: false,
      env: { TRUSTED_PROXIES: '127.0.0.1' },
    })
    await using another = await latchkey.startAnother()
    const keys = await insertKeys(latchkey, await insertPeople(latchkey))
    const requests = keys.map((key) => verification(latchkey, key, 'VALID'))
    for (const server of [latchkey, another]) await askEach(server, requests)
    await using one = await behindNginx([latchkey], requests)
    await using two = await behindNginx([latchkey, another], requests)
    const samples = await takeTurns(
      { alone: underLoad(latchkey, requests), one: one.contender, two: two.contender },
      options,
    )
    return [
      finding('one instance behind nginx', samples.one, samples.alone, one.proxyMicroseconds()),
      finding('two instances behind nginx', samples.two, samples.alone, two.proxyMicroseconds()),
    ]
  },
}

/** By time, because the question is how much more a machine answers. */
function finding(
  what: string,
  own: readonly Sample[],
  alone: readonly Sample[],
  proxyMicroseconds: number,
): Finding {
  const details = [
    describeSamples(what, own),
    describeSamples('one instance without a proxy', alone),
    `nginx itself: ${proxyMicroseconds.toFixed(1)} µs of processor time for each request`,
    `${availableParallelism()} cores, of which the load generator takes one`,
  ]
  const { byTime, ...rest } = comparison(`\`POST /keys/verify\`: ${what}, against one without`, own, alone, {
    details,
  })
  return { ...rest, figure: byTime ?? rest.figure }
}

/** nginx before some instances. Its processor time counts by itself. */
async function behindNginx(servers: readonly ServerProcess[], requests: readonly LoadRequest[]) {
  const [first, second = first] = servers.map(({ url }) => new URL(url).port)
  const proxy = await startProxy(
    {
      program: 'nginx',
      config: 'nginx.conf',
      files: { 'nginx.conf': nginxAround('cores.conf') },
      changes: [
        ['listen 443 ssl http2;', (port: number) => `listen 127.0.0.1:${port};`],
        ['ssl_certificate /etc/ssl/auth.example.com.pem;', () => ''],
        ['ssl_certificate_key /etc/ssl/auth.example.com.key;', () => ''],
        ['listen 80;', () => 'listen unix:plain.sock;'],
        ['127.0.0.1:8001', () => `127.0.0.1:${first}`],
        [
          'server 127.0.0.1:8002 max_fails=1 fail_timeout=1s;',
          () => (servers.length > 1 ? `server 127.0.0.1:${second} max_fails=1 fail_timeout=1s;` : ''),
        ],
      ],
    },
    0,
  )
  let [proxySeconds, answered] = [0, 0]
  const cpuSeconds = () => {
    const each = servers.map((server) => server.cpuSeconds())
    return each.includes(null) ? null : each.reduce<number>((sum, own) => sum + (own ?? 0), 0)
  }
  const contender: Contender = {
    async measure(seconds) {
      const before = familyCpuSeconds(proxy.pid) ?? 0
      const sample = await weigh({ cpuSeconds }, async () => {
        const result = await putLoad(proxy.url, requests, seconds)
        answered += result.requests
        return result
      })
      proxySeconds += (familyCpuSeconds(proxy.pid) ?? 0) - before
      for (const server of servers) server.forgetOutput()
      return sample
    },
  }
  return {
    contender,
    proxyMicroseconds: () => (1e6 * proxySeconds) / answered,
    [Symbol.asyncDispose]: proxy.stop,
  }
}
