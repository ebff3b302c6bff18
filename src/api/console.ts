import { statSync } from 'node:fs'
import { join } from 'node:path'
import { Elysia } from 'elysia'
import type { Config } from '../config/config.ts'
import { fail } from '../lib/errors.ts'
import { codingFor } from './compression.ts'
import type { Bundle } from './console/bundle.ts'
import { siteOf } from './pages/answer.tsx'

/** console.md, section 1.2: no other origin, nothing inline, no HTML from text, no window of another site. */
const HEADERS = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'referrer-policy': 'same-origin',
}

/** The console at `/console`, for everybody who signs in. CONSOLE=off leaves page and files out. */
export function consolePages(config: Config) {
  const app = new Elysia({ prefix: '/console' })
  if (config.console === 'off') return app
  const { base } = siteOf(config)
  const read = Bun.embeddedFiles.length > 0 ? readEmbedded : createReader()
  const hidden = { detail: { hide: true } }

  const sendPage = async () => {
    const { page } = await read()
    // The proxy takes the path of PUBLIC_URL off, so only the page knows where the browser finds the rest.
    const text = page
      .replaceAll('"/console/', `"${base}/console/`)
      .replace('name="latchkey-path" content=""', `name="latchkey-path" content="${base}"`)
    const headers = { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-cache' }
    return new Response(text, { headers: { ...HEADERS, ...headers } })
  }
  return app.get('', sendPage, hidden).get(
    '/*',
    async ({ request, params }) => {
      const name = params['*']
      // A path without a dot is a place within the console, whose script knows it.
      if (!name.includes('.')) return sendPage()
      const { files } = await read()
      const file = Object.hasOwn(files, name) ? files[name] : undefined
      return sendFile(file ?? fail('not_found'), request)
    },
    hidden,
  )
}

/** A file as it is stored, or unpacked for a client that takes no coding of ours. Its name holds its hash. */
function sendFile({ type, zstd, gzip }: Bundle['files'][string], { headers }: Request): Response {
  const coding = codingFor(headers.get('accept-encoding'))
  const stored = Uint8Array.fromBase64(coding === 'zstd' ? zstd : gzip)
  return new Response(coding === null ? Bun.gunzipSync(stored) : stored, {
    headers: {
      ...HEADERS,
      'content-type': type,
      'cache-control': 'public, max-age=31536000, immutable',
      vary: 'Accept-Encoding',
      ...(coding !== null && { 'content-encoding': coding }),
    },
  })
}

/** Imported at the first request: a start needs none of it, nor does a command. */
const readEmbedded = async (): Promise<Bundle> => (await import('./console/embedded.ts')).bundle

/** From source: bundles at the first request, and again where a source file has changed since. */
function createReader(): () => Promise<Bundle> {
  const root = join(import.meta.dir, '../..')
  const glob = new Bun.Glob('{console,client}/**/*.{ts,tsx,css,html}')
  let made: { bundle: Promise<Bundle>; of: number } | null = null
  return async () => {
    const paths = [...glob.scanSync({ cwd: root })]
    const newest = Math.max(...paths.map((path) => statSync(join(root, path)).mtimeMs))
    if (made?.of !== newest) {
      const bundle = import('./console/bundle.ts').then(({ bundleConsole }) => bundleConsole())
      made = { bundle, of: newest }
      // The next request tries again.
      bundle.catch(() => {
        made = null
      })
    }
    return made.bundle
  }
}
