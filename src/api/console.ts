import { Elysia } from 'elysia'
import type { Config } from '../config/config.ts'
import { isAuthorizationServer } from '../core/oauth/authorization-server.ts'
import { fail } from '../lib/errors.ts'
import { createPageReader, policyWith, sendFile } from './console/serve.ts'
import { siteOf } from './pages/answer.tsx'

const HEADERS = {
  'content-security-policy': policyWith([]),
  'cross-origin-opener-policy': 'same-origin',
  'referrer-policy': 'same-origin',
}

/** The console at `/console`, for everybody who signs in. CONSOLE=off leaves page and files out. */
export function consolePages(config: Config) {
  const app = new Elysia({ prefix: '/console' })
  if (config.console === 'off') return app
  const { base } = siteOf(config)
  const apps = isAuthorizationServer(config) ? 'on' : 'off'
  const read = createPageReader('console')
  const hidden = { detail: { hide: true } }

  const sendPage = async () => {
    const { page } = await read()
    // The proxy takes the path of PUBLIC_URL off, so only the page knows where the browser finds the rest.
    const text = page
      .replaceAll('"/console/', `"${base}/console/`)
      .replace('name="latchkey-path" content=""', `name="latchkey-path" content="${base}"`)
      .replace('name="latchkey-apps" content="on"', `name="latchkey-apps" content="${apps}"`)
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
      return sendFile(file ?? fail('not_found'), request, HEADERS)
    },
    hidden,
  )
}
