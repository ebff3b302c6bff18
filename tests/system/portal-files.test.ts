import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { call } from '../support/client.ts'
import { expectProblem } from '../support/problem.ts'
import { type Options, startService } from '../support/service.ts'
import { useService } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const MAX_SCRIPT_BYTES = 130 * 1024
const policyWith = (ancestors: string) =>
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
  `base-uri 'none'; form-action 'self'; frame-ancestors ${ancestors}; require-trusted-types-for 'script'; trusted-types 'none'`

const service = useService({ corsOrigins: ['https://app.example.com'] })

/** The files that the page names. */
const filesIn = (text: string) =>
  [...text.matchAll(/(?:src|href)="([^"]+)"/g)].flatMap(([, name = '']) =>
    name.startsWith('data:') ? [] : [name],
  )
const pageOf = async (on: { url: string }) => (await call(on, 'GET /portal')).text

/** Runs work on a server with other settings. */
async function withSettings(options: Options, work: (on: { url: string }) => Promise<void>): Promise<void> {
  const other = await startService(options, service)
  try {
    await work(other)
  } finally {
    await other.stop()
  }
}

describe('the page', () => {
  test.each(['/portal', '/portal/'])(
    '%s is sent under the policy, is never kept, and has no CORS headers',
    async (path) => {
      const answer = await call(service, `GET ${path}`, { headers: { origin: 'https://app.example.com' } })
      expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
      expect(answer.headers.get('content-security-policy')).toBe(policyWith("'none'"))
      expect(answer.headers.get('cross-origin-opener-policy')).toBe('same-origin')
      expect(answer.headers.get('cache-control')).toBe('no-cache')
      expect(answer.headers.get('access-control-allow-origin')).toBeNull()
      expect(answer.headers.get('set-cookie')).toBeNull()
    },
  )

  test('may be framed by the origins of PORTAL_FRAME_ANCESTORS alone, which the console may not', () =>
    withSettings({ portalFrameAncestors: ['https://a.example', 'https://b.example:8443'] }, async (on) => {
      const { headers } = await call(on, 'GET /portal')
      expect(headers.get('content-security-policy')).toBe(
        policyWith('https://a.example https://b.example:8443'),
      )
      expect(headers.get('cross-origin-opener-policy')).toBeNull()
      const ofConsole = (await call(on, 'GET /console')).headers
      expect(ofConsole.get('content-security-policy')).toBe(policyWith("'none'"))
      expect(ofConsole.get('cross-origin-opener-policy')).toBe('same-origin')
    }))

  test('has nothing inline, and names its own files alone', async () => {
    const text = await pageOf(service)
    for (const inline of [/<style/i, /\sstyle=/i, /\son\w+=/i, /javascript:/i, /https?:/i])
      expect(text).not.toMatch(inline)
    expect(text.match(/<script\b/g)?.length).toBe(1)
    expect(filesIn(text)).toEqual([
      expect.stringMatching(/^\/portal\/assets\/portal-\w+\.css$/),
      expect.stringMatching(/^\/portal\/assets\/portal-\w+\.js$/),
    ])
  })

  test('names the product as text, whatever it is called', () =>
    withSettings({ portalName: '"><script>$&</script>', portalAccent: '#0f766e' }, async (on) => {
      const text = await pageOf(on)
      expect(text).toContain(
        '<meta name="latchkey-name" content="&quot;&gt;&lt;script&gt;$&amp;&lt;/script&gt;" />',
      )
      expect(text).toContain('<meta name="latchkey-accent" content="#0f766e" />')
      expect(text.match(/<script\b/g)?.length).toBe(1)
    }))

  test('takes no other method, and its API no GET', async () => {
    for (const path of ['/portal', '/portal/sessions', '/portal/exchange', '/portal/session']) {
      const method = path === '/portal' ? 'POST' : 'GET'
      expectProblem(await call(service, `${method} ${path}`), 'method_not_allowed')
    }
  })
})

describe('its files', () => {
  test('are kept for good, and come in the coding that the browser likes', async () => {
    for (const path of filesIn(await pageOf(service))) {
      const texts = new Set<string>()
      for (const coding of ['zstd', 'gzip', 'identity']) {
        const response = await fetch(service.url + path, { headers: { 'accept-encoding': coding } })
        expect(response.status).toBe(200)
        expect(response.headers.get('content-encoding') ?? 'identity').toBe(coding)
        expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
        expect(response.headers.get('content-security-policy')).toBe(policyWith("'none'"))
        texts.add(await response.text())
      }
      expect(texts.size).toBe(1)
    }
  })

  test.each(['portal.js', 'constructor', '__proto__', '..%2fpackage.json', 'index.html'])(
    'there is none at %s',
    async (name) => expectProblem(await call(service, `GET /portal/assets/${name}`), 'not_found'),
  )

  test('the script is React in production, at most 130 KiB compressed, and has nothing of the console', async () => {
    const path = filesIn(await pageOf(service)).find((name) => name.endsWith('.js')) ?? ''
    const sent = await fetch(service.url + path, {
      headers: { 'accept-encoding': 'gzip' },
      decompress: false,
    })
    const bytes = new Uint8Array(await sent.arrayBuffer())
    const text = new TextDecoder().decode(Bun.gunzipSync(bytes))
    expect(bytes.length).toBeLessThan(MAX_SCRIPT_BYTES)
    expect(bytes.length).toBeGreaterThan(50 * 1024)
    expect(text).not.toContain('jsxDEV')
    // A person who is signed in to Latchkey itself stays unknown to the portal.
    expect(text).not.toContain('/session/token')
  })
})

test('below a path of PUBLIC_URL the page names that path, and the files are where the proxy asks', () =>
  withSettings({ publicUrl: 'https://example.com/auth/latchkey' }, async (below) => {
    const text = await pageOf(below)
    expect(text).toContain('<meta name="latchkey-path" content="/auth/latchkey" />')
    const files = filesIn(text)
    expect(files).toHaveLength(2)
    for (const path of files) {
      expect(path).toStartWith('/auth/latchkey/portal/assets/')
      expect((await call(below, `GET ${path.replace('/auth/latchkey', '')}`)).status).toBe(200)
    }
  }))

test('CONSOLE=off leaves the portal', () =>
  withSettings({ console: 'off' }, async (off) => {
    expectProblem(await call(off, 'GET /console'), 'not_found')
    const text = await pageOf(off)
    for (const path of filesIn(text)) expect((await call(off, `GET ${path}`)).status).toBe(200)
    expect(filesIn(text)).toHaveLength(2)
  }))
