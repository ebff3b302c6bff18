import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { proxyLines } from '../../src/cli/commands/proxy-lines.ts'
import { newKey } from '../support/client.ts'
import { sendRaw } from '../support/http-socket.ts'
import { addLoggedIn } from '../support/people.ts'
import {
  CADDY,
  NGINX,
  nginxAround,
  type RunningProxy,
  startProxy,
  startUpstream,
  type Upstream,
} from '../support/proxy.ts'
import { useService, useSql } from '../support/use-service.ts'

// The recipes of deploy/ with the lines that `latchkey config` prints for API_KEY_HEADERS.

/** One with letters that the Caddyfile leaves out, one without, and one that begins as what it leaves out. */
const HEADERS = ['x-access-token', 'apikey', 'token']
const service = useService({
  trustedProxies: ['127.0.0.1/32'],
  apiKeyHeaders: HEADERS,
  apiKeySchemes: ['token'],
})
const sql = useSql(service)

/** The lines that are printed below a heading. */
function linesOf(heading: string): string {
  const lines = proxyLines({ apiKeyHeaders: HEADERS }).map((line) => line.slice(2))
  const from = lines.findIndex((line) => line.includes(heading)) + 1
  const to = lines.findIndex((line, at) => at >= from && !line.startsWith('  '))
  return lines.slice(from, to === -1 ? undefined : to).join('\n')
}

/** The header_up lines of the Caddyfile, each once, which are taken out. */
const OLD_LINES = (await Bun.file(new URL('../../deploy/caddy/Caddyfile', import.meta.url)).text())
  .split('\n')
  .filter((line) => line.startsWith('\theader_up -'))

const RECIPES: [
  name: string,
  skip: boolean,
  start: (latchkey: number, app: number) => Promise<RunningProxy>,
][] = [
  [
    'nginx',
    !NGINX,
    (latchkey, app) =>
      startProxy(
        {
          program: 'nginx',
          config: 'nginx.conf',
          files: { 'nginx.conf': nginxAround('latchkey.conf') },
          changes: [
            ['listen 80 ', (port) => `listen 127.0.0.1:${port} `],
            ['proxy_pass_request_body off;', () => `proxy_pass_request_body off;\n${linesOf('ask.conf')}`],
            [
              'proxy_set_header X-API-Key "";',
              () => `proxy_set_header X-API-Key "";\n${linesOf('app.conf')}`,
            ],
          ],
        },
        latchkey,
        app,
      ),
  ],
  [
    'caddy',
    !CADDY,
    (latchkey, app) =>
      startProxy(
        {
          program: 'caddy',
          config: 'Caddyfile',
          changes: [
            [
              '\n:80 {',
              (port) => `\n{\n\tadmin off\n\tauto_https off\n}\nhttp://:${port} {\n\tbind 127.0.0.1`,
            ],
            ...OLD_LINES.map((line) => [`${line}\n`, () => ''] as const),
            ['\tcopy_headers', () => `${linesOf('in (ask)')}\n\tcopy_headers`],
            ['\trequest_header -X-API-Key\n', () => `\trequest_header -X-API-Key\n${linesOf('in (app)')}\n`],
          ],
        },
        latchkey,
        app,
      ),
  ],
]

describe.each(RECIPES)('deploy/%s with the printed lines', (name, skip, start) => {
  let app: Upstream
  let proxy: RunningProxy
  let key: string
  beforeAll(async () => {
    if (skip) return
    key = (await newKey(service, (await addLoggedIn(service, sql)).access, { scopes: 'read' })).key
    app = await startUpstream()
    proxy = await start(Number(new URL(service.url).port), app.port)
  })
  afterAll(async () => {
    await proxy?.stop()
    app?.close()
  })
  const pass = async (path: string, headers: string[], at = proxy) => {
    const before = app.seen.length
    const { status } = await sendRaw(at, `GET ${path}`, headers)
    return { status, seen: app.seen.slice(before) }
  }

  test
    .skipIf(skip)
    .each([
      ...HEADERS.map((header) => [header, (text: string) => `${header}: ${text}`] as const),
      ['a scheme', (text: string) => `Authorization: token ${text}`],
      ['Basic', (text: string) => `Authorization: Basic ${btoa(`${text}:`)}`],
    ])('a key in %s reaches Latchkey, and not the application', async (_, line) => {
    const { status, seen } = await pass('/reports/x', [line(key), 'Cookie: a=b', 'User-Agent: x'])
    expect([status, seen.length]).toEqual([200, 1])
    expect(seen[0]?.headers.get('x-auth-scopes')).toEqual(['read'])
    expect(seen[0]?.head).not.toContain(key)
    expect(seen[0]?.head).not.toContain(btoa(`${key}:`))
    // The application keeps what is its own.
    expect(seen[0]?.headers.get('cookie')).toEqual(['a=b'])
    expect((await pass('/reports/x', [line('sk_unknown')])).status).toBe(401)
    const free = await pass('/public/x', [line(key)])
    expect([free.status, free.seen[0]?.head.includes(key)]).toEqual([200, false])
  })

  test.skipIf(skip)('two credentials are refused', async () => {
    const lines = HEADERS.map((header) => `${header}: ${key}`)
    expect((await pass('/x', lines.slice(0, 2))).status).toBe(401)
    expect((await pass('/x', [`Authorization: Bearer ${key}`, lines[0] ?? ''])).status).toBe(401)
    expect((await pass('/x', lines.slice(0, 1))).status).toBe(200)
  })

  test.skipIf(skip)('large headers that a question does not need are left out of it', async () => {
    const large = 'x'.repeat(15_000)
    for (const header of ['Cookie', 'Accept', 'Referer', 'User-Agent', 'X-Csrf-Token'].slice(
      0,
      name === 'caddy' ? 4 : 5,
    ))
      expect([
        header,
        (await pass('/x', [`apikey: ${key}`, `${header}: ${large}`, `Origin: ${large}`])).status,
      ]).toEqual([header, 200])
  })
})
