import type { Config } from '../../config/config.ts'
import { awaitsLogin } from '../../core/authorization/login-time.ts'
import type { Context } from '../../core/context.ts'
import { SECOND_MS } from '../../lib/time.ts'

const MAX_LENGTH = 8192

/**
 * Where a person goes after sign-in: a path of ours, whole with its query. Anything else is dropped, since a link that a
 * stranger made could lead to the stranger's site, with our name in front of it (people.md, section 3, rule 5).
 * @returns null where `value` is not such a path
 */
export function readReturnTo(
  { publicUrl }: Pick<Config, 'publicUrl'>,
  value: string | null | undefined,
): string | null {
  if (!value || value.length > MAX_LENGTH || !value.startsWith('/')) return null
  const base = new URL(publicUrl)
  // Parsed as a browser parses it: that turns `\` into `/` and drops tabs and line breaks, so `/\evil` is a host.
  const url = URL.parse(value, base.href)
  if (url === null || url.origin !== base.origin || url.username !== '' || url.password !== '') return null
  // `/.//evil` is parsed into the path `//evil`, which a browser takes for a host.
  if (url.pathname.startsWith('//')) return null
  const folder = base.pathname.endsWith('/') ? base.pathname : `${base.pathname}/`
  if (url.pathname !== base.pathname && !url.pathname.startsWith(folder)) return null
  return url.pathname + url.search + url.hash
}

/** The path of the authorization endpoint, below that of PUBLIC_URL. */
export const AUTHORIZE = '/oauth/authorize'

/** The query of the authorization endpoint, where a person goes there; null: they go elsewhere. */
export function queryToApp(
  { publicUrl }: Pick<Config, 'publicUrl'>,
  returnTo: string | null,
): URLSearchParams | null {
  const url = returnTo === null ? null : URL.parse(returnTo, publicUrl)
  const base = new URL(publicUrl).pathname.replace(/\/$/, '')
  return url?.pathname.replace(/\/$/, '') === base + AUTHORIZE ? url.searchParams : null
}

/**
 * Whether the place where a person goes asks for a log-in that is newer than theirs: an app that wants it says so by
 * `prompt=login` or `max_age` (OpenID Connect Core, section 3.1.2.1). Of an app's request the endpoint itself decides, and
 * sends the person here with the time at which it was asked.
 */
export function asksForNewLogin(
  context: Pick<Context, 'config' | 'keys' | 'clock'>,
  returnTo: string | null,
  authTime: Date,
): boolean {
  const ofApp = queryToApp(context.config, returnTo)
  if (ofApp) return awaitsLogin(context, ofApp, authTime)
  const query = returnTo === null ? null : URL.parse(returnTo, 'http://localhost')?.searchParams
  if (!query) return false
  if (query.get('prompt')?.split(' ').includes('login')) return true
  const maxAge = query.get('max_age')
  return maxAge !== null && context.clock() - authTime.getTime() > Number(maxAge) * SECOND_MS
}
