import type { Config } from '../../config/config.ts'

/**
 * The cookie of browser sessions (people.md, section 2, rule 1). With the prefix `__Host-` a browser takes it from this very
 * host over https alone, so that no sibling subdomain can plant one. Over plain http, which is for development, there is
 * no prefix and no `Secure`: Safari drops secure cookies there, also from localhost.
 */
const nameOf = ({ publicUrl }: Pick<Config, 'publicUrl'>): string =>
  publicUrl.startsWith('https:') ? '__Host-latchkey' : 'latchkey'

/** The value of the cookie; null where the request has no such cookie, or several, of which one must have been planted. */
export function readCookie(config: Pick<Config, 'publicUrl'>, { headers }: Request): string | null {
  const prefix = `${nameOf(config)}=`
  const values = (headers.get('cookie') ?? '').split(/; */).filter((pair) => pair.startsWith(prefix))
  return values.length === 1 ? (values[0]?.slice(prefix.length) ?? null) : null
}

/**
 * A `Set-Cookie` header.
 * @param maxAgeSeconds how long the browser keeps it; null: until its window is closed; 0: not at all
 */
export function formatCookie(
  config: Pick<Config, 'publicUrl'>,
  value: string,
  maxAgeSeconds: number | null,
): string {
  return new Bun.Cookie(nameOf(config), value, {
    path: '/',
    httpOnly: true,
    secure: config.publicUrl.startsWith('https:'),
    sameSite: 'lax',
    ...(maxAgeSeconds !== null && { maxAge: maxAgeSeconds }),
  }).serialize()
}

/** A `Set-Cookie` header that removes the cookie. */
export const clearedCookie = (config: Pick<Config, 'publicUrl'>): string => formatCookie(config, '', 0)
