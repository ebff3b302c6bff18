import { Elysia } from 'elysia'
import type { Config } from '../config/config.ts'
import { fail } from '../lib/errors.ts'
import { createPageReader, policyWith, sendFile } from './console/serve.ts'
import { siteOf } from './pages/answer.tsx'

/**
 * The page of the customer portal at `/portal`, and its files. It is there whether the console is or not. Sites of
 * PORTAL_FRAME_ANCESTORS may show it in a frame; then it has no Cross-Origin-Opener-Policy, which frames do not take.
 */
export function portalPages(config: Config) {
  const { portalFrameAncestors, portalName, portalAccent } = config
  const { base, hasLogo } = siteOf(config)
  const read = createPageReader('portal')
  const hidden = { detail: { hide: true } }
  const headers = {
    'content-security-policy': policyWith(portalFrameAncestors),
    ...(portalFrameAncestors.length === 0 && { 'cross-origin-opener-policy': 'same-origin' }),
    'referrer-policy': 'same-origin',
  }
  /** What the page knows before its link is exchanged. */
  const told = {
    path: base,
    name: portalName,
    accent: portalAccent ?? '',
    logo: hasLogo ? `${base}/pages/logo` : '',
  }

  const sendPage = async () => {
    // The proxy takes the path of PUBLIC_URL off, so only the page knows where the browser finds the rest.
    let text = (await read()).page.replaceAll('"/portal/assets/', `"${base}/portal/assets/`)
    for (const [name, value] of Object.entries(told)) {
      const meta = `name="latchkey-${name}" content="`
      text = text.replace(`${meta}"`, () => `${meta}${Bun.escapeHTML(value)}"`)
    }
    return new Response(text, {
      headers: { ...headers, 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-cache' },
    })
  }
  return new Elysia({ prefix: '/portal' }).get('', sendPage, hidden).get(
    '/assets/*',
    async ({ request, params }) => {
      const name = params['*']
      const { files } = await read()
      const file = Object.hasOwn(files, name) ? files[name] : undefined
      return sendFile(file ?? fail('not_found'), request, headers)
    },
    hidden,
  )
}
