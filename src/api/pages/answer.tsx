/** @jsxImportSource hono/jsx */
import type { JSX } from 'hono/jsx/jsx-runtime'
import type { Config } from '../../config/config.ts'
import { catalogue, type Problem } from '../../lib/errors.ts'
import { weightsOf } from '../compression.ts'
import { Links, Page, type Site } from './components.tsx'

/**
 * On every page: nothing but our own files; forms go to us alone; no other site frames a page. `Referrer-Policy` is
 * `same-origin`: with `no-referrer` browsers would send `Origin: null` with our own forms.
 */
export const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join('; '),
  'referrer-policy': 'same-origin',
  'cache-control': 'no-store',
}

/** How the pages of this service look, and where they are. */
export const siteOf = ({ publicUrl, brandName, brandLogo }: Config): Site => ({
  brandName,
  hasLogo: brandLogo !== null,
  base: new URL(publicUrl).pathname.replace(/\/$/, ''),
})

/** Where a signed-in person goes without a `return_to`: the console, or the start page where there is no console. */
export const homeOf = (config: Config): string =>
  `${siteOf(config).base}/${config.console === 'on' ? 'console' : ''}`

/** A page as an answer. */
export function pageAnswer(page: JSX.Element, status = 200, headers: Record<string, string> = {}): Response {
  return new Response(`<!doctype html>${page}`, {
    status,
    headers: { ...PAGE_HEADERS, ...headers },
  })
}

/** Sends the browser on by GET, whatever the method was (RFC 9110, section 15.4.4). */
export const seeOther = (location: string, headers: Record<string, string> = {}): Response =>
  new Response(null, { status: 303, headers: { ...PAGE_HEADERS, location, ...headers } })

/** Whether a client prefers a page to JSON, as a browser does that opens a link. */
export function prefersPage({ headers }: Request): boolean {
  const weights = weightsOf(headers.get('accept') ?? '')
  const html = weights.get('text/html') ?? 0
  return html > 0 && html >= (weights.get('application/json') ?? 0)
}

/** The statuses that have a page of their own where a browser asks. */
const PAGED = new Set([403, 404, 429, 503])

/** An error as a page; null where this error has none. */
export function errorPage(site: Site, { problem, extra }: Problem): string | null {
  const [status, title, detail] = catalogue[problem]
  if (!PAGED.has(status)) return null
  const page = (
    <Page site={site} title={title}>
      <p>{extra.detail ?? detail}</p>
      <Links to={[[`${site.base}/`, 'Start page']]} />
    </Page>
  )
  return `<!doctype html>${page}`
}
