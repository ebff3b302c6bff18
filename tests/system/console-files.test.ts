import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { call } from '../support/client.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { useService } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const MAX_SCRIPT_BYTES = 130 * 1024
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
  "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

const service = useService({ corsOrigins: ['https://app.example.com'] })

/** The files that the page names, as paths of this service. */
async function filesOf(on: { url: string }): Promise<string[]> {
  const { text } = await call(on, 'GET /console')
  return [...text.matchAll(/(?:src|href)="([^"]+)"/g)].flatMap(([, name = '']) =>
    name.startsWith('data:') ? [] : [name],
  )
}

describe('the page', () => {
  test.each(['/console', '/console/', '/console/keys/new', '/console/users/x'])(
    '%s is sent under the policy, is never kept, and has no CORS headers',
    async (path) => {
      const answer = await call(service, `GET ${path}`, { headers: { origin: 'https://app.example.com' } })
      expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
      expect(answer.headers.get('content-security-policy')).toBe(POLICY)
      expect(answer.headers.get('cross-origin-opener-policy')).toBe('same-origin')
      expect(answer.headers.get('cache-control')).toBe('no-cache')
      expect(answer.headers.get('referrer-policy')).toBe('same-origin')
      expect(answer.headers.get('access-control-allow-origin')).toBeNull()
    },
  )

  test('the control: the API has CORS headers for this origin', async () => {
    const answer = await call(service, 'GET /health', { headers: { origin: 'https://app.example.com' } })
    expect(answer.headers.get('access-control-allow-origin')).toBe('https://app.example.com')
  })

  test('has nothing inline, and names its own files alone', async () => {
    const { text } = await call(service, 'GET /console')
    for (const inline of [/<style/i, /\sstyle=/i, /\son\w+=/i, /javascript:/i, /https?:/i])
      expect(text).not.toMatch(inline)
    expect(text.match(/<script\b/g)?.length).toBe(1)
    expect(await filesOf(service)).toEqual([
      expect.stringMatching(/^\/console\/index-\w+\.css$/),
      expect.stringMatching(/^\/console\/index-\w+\.js$/),
    ])
  })

  test('takes no other method', async () => {
    const answer = await call(service, 'POST /console', { json: {} })
    expectProblem(answer, 'method_not_allowed')
    expect(answer.headers.get('allow')).toBe('GET, HEAD')
  })
})

describe('its files', () => {
  test('are kept for good under names that hold their hash, and come in the coding that the browser likes', async () => {
    const files = await filesOf(service)
    expect(files).toHaveLength(2)
    for (const path of files) {
      const texts = new Set<string>()
      for (const coding of ['zstd', 'gzip', 'identity']) {
        // Bun's fetch unpacks what it knows; the header says what came.
        const response = await fetch(service.url + path, { headers: { 'accept-encoding': coding } })
        expect(response.status).toBe(200)
        expect(response.headers.get('content-encoding') ?? 'identity').toBe(coding)
        expect(response.headers.get('cache-control')).toBe('public, max-age=31536000, immutable')
        expect(response.headers.get('content-security-policy')).toBe(POLICY)
        expect(response.headers.get('vary')).toContain('Accept-Encoding')
        texts.add(await response.text())
      }
      expect(texts.size).toBe(1)
      expect([...texts][0]?.length).toBeGreaterThan(1000)
    }
  })

  test.each([
    '/console/index.js',
    '/console/../package.json',
    '/console/constructor.js',
    '/console/main.tsx',
  ])('there is none at %s', async (path) => expectProblem(await call(service, `GET ${path}`), 'not_found'))

  test('the script is React in production, and at most 130 KiB compressed', async () => {
    const path = (await filesOf(service)).find((name) => name.endsWith('.js')) ?? ''
    const headers = { 'accept-encoding': 'gzip' }
    const sent = await fetch(service.url + path, { headers, decompress: false })
    const bytes = new Uint8Array(await sent.arrayBuffer())
    const { length } = bytes
    const text = new TextDecoder().decode(Bun.gunzipSync(bytes))
    expect(length).toBeLessThan(MAX_SCRIPT_BYTES)
    expect(length).toBeGreaterThan(60 * 1024)
    expect(text).not.toContain('react.dev/link/react-devtools')
    expect(text).not.toContain('jsxDEV')
  })
})

test('below a path of PUBLIC_URL the page names that path, and the files are where the proxy asks', async () => {
  const below = await startService({ publicUrl: 'https://example.com/auth/latchkey' }, service)
  try {
    const { text } = await call(below, 'GET /console')
    expect(text).toContain('<meta name="latchkey-path" content="/auth/latchkey" />')
    const files = await filesOf(below)
    expect(files).toHaveLength(2)
    for (const path of files) {
      expect(path).toStartWith('/auth/latchkey/console/')
      expect((await call(below, `GET ${path.replace('/auth/latchkey', '')}`)).status).toBe(200)
    }
  } finally {
    await below.stop()
  }
})

test('CONSOLE=off removes page and files, and people are sent elsewhere', async () => {
  const [script = ''] = await filesOf(service)
  const off = await startService({ console: 'off' }, service)
  try {
    for (const path of ['/console', '/console/', '/console/keys', script])
      expectProblem(await call(off, `GET ${path}`), 'not_found')
    const moved = async (on: { url: string }) =>
      (await fetch(`${on.url}/.well-known/change-password`, { redirect: 'manual' })).headers.get('location')
    expect([await moved(off), await moved(service)]).toEqual(['/forgot-password', '/console/account'])
  } finally {
    await off.stop()
  }
})
