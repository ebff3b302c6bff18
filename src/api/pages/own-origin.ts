import type { Config } from '../../config/config.ts'
import { fail } from '../../lib/errors.ts'

/**
 * Refuses a request that changes something and was not made by a page of our own origin. A browser adds
 * the cookie to requests that any site causes, so without this another site could act for the person at the browser. `SameSite=Lax` alone does
 * not suffice: a sibling subdomain is the same site. Called before anything else of the request is read.
 * (people.md, section 2, rule 9)
 * @throws Problem cross_site
 */
export function requireOwnOrigin(
  { publicUrl }: Pick<Config, 'publicUrl'>,
  { method, headers }: Request,
): void {
  if (method === 'GET' || method === 'HEAD') return
  const site = headers.get('sec-fetch-site')
  // Browsers from before 2023 send no Sec-Fetch-Site; all of them send Origin with a POST.
  const isOwn = site === null ? headers.get('origin') === new URL(publicUrl).origin : site === 'same-origin'
  if (!isOwn) fail('cross_site')
}
