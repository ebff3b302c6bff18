import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { secret } from '../../src/lib/secret.ts'
import { call, newKey, newPerson } from '../support/client.ts'
import { dial, sendRaw } from '../support/http-socket.ts'
import { CADDY, NGINX, nginxAround, type RunningProxy, startProxy } from '../support/proxy.ts'
import { prepare, useService } from '../support/use-service.ts'

// Latchkey behind a proxy with the files of `deploy/`, as docs/behind-a-proxy.md describes.

const METRICS_TOKEN = 'qX7vB2mK9tQ4wZ8nR'

const service = useService({ trustedProxies: ['127.0.0.0/8'], metricsToken: secret(METRICS_TOKEN) })
const person = prepare(() => newPerson(service))

/** The path of the metrics, and spellings that another program might read as this path. */
const METRICS = [
  ...['/metrics', '/metrics/', '/metrics?x', '/metrics/?x', '/metrics/.', '/./metrics', '/x/../metrics'],
  ...['/%2e/metrics', '/metrics/x/..', 'http://latchkey.test/metrics'],
]
const NEARLY_METRICS = [
  ...['//metrics', '/metrics//', '/metrics#x', '/METRICS', '/%6detrics', '/metrics%2f'],
  ...['/metrics;x', '/x/..%2fmetrics'],
]

/** Changes of the files: no TLS, and a timeout of a second for headers. */
const PROXIES = [
  {
    path: NGINX,
    recipe: {
      program: 'nginx',
      config: 'nginx.conf',
      files: { 'nginx.conf': nginxAround('behind-a-proxy.conf') },
      changes: [
        ['listen 443 ssl http2;', (port: number) => `listen 127.0.0.1:${port};`],
        ['ssl_certificate /etc/ssl/auth.example.com.pem;', () => ''],
        ['ssl_certificate_key /etc/ssl/auth.example.com.key;', () => ''],
        ['listen 80;', () => 'listen unix:plain.sock;'],
        ['client_header_timeout 10s;', () => 'client_header_timeout 1s;'],
      ],
    },
  },
  {
    path: CADDY,
    recipe: {
      program: 'caddy',
      config: 'behind-a-proxy.Caddyfile',
      changes: [
        ['{\n\tservers {', () => '{\n\tadmin off\n\tservers {'],
        ['\nauth.example.com {', (port: number) => `\nhttp://127.0.0.1:${port} {\n\tbind 127.0.0.1`],
        ['read_header 10s', () => 'read_header 1s'],
      ],
    },
  },
] as const

for (const { path, recipe } of PROXIES) {
  const name = recipe.program
  describe.skipIf(!path)(`behind ${name}${path ? '' : ` (skipped: apt-get install ${name})`}`, () => {
    let front: RunningProxy
    let host: string
    beforeAll(async () => {
      front = await startProxy(recipe, Number(new URL(service.url).port))
      host = `Host: ${new URL(front.url).host}\r\n`
    })
    afterAll(() => front?.stop())

    const post = (headers: string, body: string) =>
      `POST /auth/logout HTTP/1.1\r\n${host}Content-Type: application/json\r\n${headers}\r\n\r\n${body}`

    test('requests are answered as without the proxy', async () => {
      const json = { email: person.email, password: person.password }
      expect((await call(front, 'POST /auth/login', { json })).status).toBe(200)
      expect((await call(front, 'GET /auth/me', { bearer: person.access })).body.email).toBe(person.email)
      expect((await call(front, 'POST /auth/login', { raw: '{' })).status).toBe(415)
      expect((await call(front, 'GET /metrics')).status).toBe(404)
      const large = { raw: 'a'.repeat(10 * 1024 * 1024), headers: { 'content-type': 'application/json' } }
      // The connection is closed while the body is still on its way, so the answer may be lost.
      const answer = await call(front, 'POST /auth/login', large).catch(() => ({ status: 413 }))
      expect([413, ...(name === 'caddy' ? [502] : [])]).toContain(answer.status)
    })

    test.each([...METRICS, ...NEARLY_METRICS])(
      'the metrics are refused from outside, in every spelling of their path: %s',
      async (target) => {
        const headers = [`Authorization: Bearer ${METRICS_TOKEN}`]
        const outside = await sendRaw(front, `GET ${target}`, [host.trim(), ...headers])
        expect(outside.body.includes('latchkey_')).toBe(false)
        // The control: Latchkey itself answers a spelling that it accepts.
        const inside = await sendRaw(service, `GET ${target}`, headers)
        if (METRICS.includes(target)) expect(inside.body.includes('latchkey_')).toBe(true)
      },
    )

    test('the address of the client is the one that the proxy names, whatever the client sends', async () => {
      const id = `forwarded-${name}`
      const headers = { 'x-forwarded-for': '203.0.113.9', 'x-request-id': id }
      expect((await call(front, 'GET /health', { headers })).status).toBe(200)
      const line = service.logged().find(({ request_id }) => request_id === id)
      expect(line?.client).toBe('127.0.0.1')
      // The control: Latchkey trusts this peer.
      const direct = { ...headers, 'x-request-id': `${id}-direct` }
      await call(service, 'GET /health', { headers: direct })
      const control = service.logged().find(({ request_id }) => request_id === direct['x-request-id'])
      expect(control?.client).toBe('203.0.113.9')
    })

    test.each<[string, (hidden: string) => string]>([
      [
        'a length and a coding',
        (next) =>
          post(`Content-Length: ${5 + next.length}\r\nTransfer-Encoding: chunked`, `0\r\n\r\n${next}`),
      ],
      [
        'a coding and a length',
        (next) => post('Transfer-Encoding: chunked\r\nContent-Length: 2', `{}${next}`),
      ],
      ['two lengths', (next) => post(`Content-Length: 2\r\nContent-Length: ${2 + next.length}`, `{}${next}`)],
      [
        'a coding by another name',
        (next) => post(`Transfer_Encoding: chunked\r\nContent-Length: ${next.length}`, next),
      ],
      [
        'an unknown coding',
        (next) => post(`Transfer-Encoding: xchunked\r\nContent-Length: ${next.length}`, next),
      ],
      [
        'a coding after a vertical tab',
        (next) => post(`Transfer-Encoding:\x0bchunked\r\nContent-Length: ${next.length}`, next),
      ],
      [
        'a space before the colon',
        (next) => post(`Transfer-Encoding : chunked\r\nContent-Length: ${next.length}`, next),
      ],
      [
        'a bare LF before a coding',
        (next) => post(`X-A: a\nTransfer-Encoding: chunked\r\nContent-Length: ${next.length}`, next),
      ],
      [
        'a folded coding',
        (next) => post(`Transfer-Encoding:\r\n chunked\r\nContent-Length: ${next.length}`, next),
      ],
      ['a request as the body', (next) => post(`Content-Length: ${next.length}`, next)],
      [
        'a request in a chunk',
        (next) => post('Transfer-Encoding: chunked', `${next.length.toString(16)}\r\n${next}\r\n0\r\n\r\n`),
      ],
      [
        'a request in an extension',
        (next) => post('Transfer-Encoding: chunked', `2;a="\r\n${next}"\r\n{}\r\n0\r\n\r\n`),
      ],
      [
        'a chunk of 0x2',
        (next) => post('Transfer-Encoding: chunked', `0x2\r\n{}\r\n0\r\n\r\n${next.slice(0, 0)}`),
      ],
      [
        'a size beyond 64 bits',
        (next) => post('Transfer-Encoding: chunked', `10000000000000002\r\n{}\r\n0\r\n\r\n${next}`),
      ],
    ])('Latchkey gets no request that the proxy did not see as one: %s', async (_, bytes) => {
      const prey = await newKey(service, person.access)
      const next = `DELETE /keys/self HTTP/1.1\r\n${host}X-API-Key: ${prey.key}\r\n\r\n`
      const wire = dial(front)
      wire.send(bytes(next))
      wire.send(`GET /livez HTTP/1.1\r\n${host}Connection: close\r\n\r\n`)
      await Promise.race([wire.closed, Bun.sleep(2000)])
      wire.end()
      await wire.closed
      const answers = []
      for (let answer = await wire.answer(); answer.status !== 0; answer = await wire.answer())
        answers.push(answer)
      // The proxy would send the answer to a hidden request to the next client.
      const isAlive = (await call(service, 'GET /protected/any', { apiKey: prey.key })).status === 200
      if (!isAlive) expect(answers.slice(1).map(({ status }) => status)).toEqual([204, 200])
      if (answers.at(-1)?.status === 200) expect(answers.at(-1)?.body).toContain('alive')
      if (name === 'nginx') expect(isAlive).toBe(true)
    })

    test.each([
      ['two Hosts', `GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n`, 400],
      ['no Host', 'GET /health HTTP/1.1\r\n\r\n', 400],
      ['CONNECT', `CONNECT latchkey.test:80 HTTP/1.1\r\nHost: latchkey.test:80\r\n\r\n`, 405],
    ])('is refused before Latchkey: %s', async (what, bytes, expected) => {
      const wire = dial(front)
      wire.send(bytes)
      const { status } = await wire.answer()
      // Caddy answers 200 itself for a host that it does not serve.
      expect([expected, ...(what === 'CONNECT' ? [200, 400, 404] : [])]).toContain(status)
      wire.end()
    })

    test('a Host of two characters opens no path by a prefix before it', async () => {
      const id = `path-${name}-host`
      const wire = dial(front)
      wire.send(`GET /xx/health HTTP/1.1\r\nHost: ab\r\nX-Request-Id: ${id}\r\n\r\n`)
      expect((await wire.answer()).body).not.toContain('healthy')
      wire.end()
    })

    test('several requests at once are answered in order, also where one takes longer', async () => {
      const wire = dial(front)
      const login = JSON.stringify({ email: person.email, password: 'wrong' })
      wire.send(
        `POST /auth/login HTTP/1.1\r\n${host}Content-Type: application/json\r\nContent-Length: ${login.length}\r\n\r\n${login}` +
          `GET /health HTTP/1.1\r\n${host}\r\n`,
      )
      expect((await wire.answer()).status).toBe(401)
      expect((await wire.answer()).status).toBe(200)
      wire.end()
    })

    test('a client that drips headers is disconnected, and a dripping body does not reach Latchkey', async () => {
      const headers = dial(front)
      headers.send(`GET /health HTTP/1.1\r\n${host}X-Slow: `)
      const dripping = setInterval(() => headers.send('a'), 100)
      const body = dial(front)
      const id = `dripped-${name}`
      body.send(
        `POST /auth/login HTTP/1.1\r\n${host}X-Request-Id: ${id}\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{`,
      )
      const { seconds } = await headers.closed.finally(() => clearInterval(dripping))
      expect(seconds).toBeLessThan(10)
      body.end()
      // Caddy passes a body on as it arrives, so Latchkey's own timeout applies.
      if (name === 'nginx') expect(service.loggedText()).not.toContain(id)
    })
  })
}
