import type { Config } from '../../config/config.ts'

const MAX_LENGTH = 500

/** A host name with a dot. An address, and a name with a dot at its end, are other spellings of something. */
const HOST_NAME = /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$/

/**
 * Reads the URL of a metadata document (oauth.md, section 3, rule 4). It is taken as it is written: a URL that a parser would
 * write in another way is refused, since one document with two spellings would be two apps.
 * @returns the URL, or a sentence that says what is wrong with it
 */
export function readDocumentUrl(text: string): { url: URL } | { fault: string } {
  if (text.length > MAX_LENGTH) return { fault: `Its URL has more than ${MAX_LENGTH} characters.` }
  const url = URL.parse(text)
  if (url?.protocol !== 'https:') return { fault: 'Its client_id is no https URL.' }
  if (url.username !== '' || url.password !== '') return { fault: 'Its URL has a user name.' }
  if (text.includes('#')) return { fault: 'Its URL has a fragment.' }
  if (text.includes('?')) return { fault: 'Its URL has a query.' }
  if (url.port !== '') return { fault: 'Its URL has another port than 443.' }
  if (!HOST_NAME.test(url.hostname)) return { fault: 'Its URL names no public host.' }
  if (url.pathname === '/') return { fault: 'Its URL has no path.' }
  if (url.href !== text) return { fault: 'Its URL is not written in the usual way.' }
  return { url }
}

type HostRules = Pick<Config, 'oauthClientMetadataAllow' | 'oauthClientMetadataDeny'>

/** Whether OAUTH_CLIENT_METADATA_ALLOW and _DENY let documents of a host pass. DENY wins. */
export function isHostAllowed(rules: HostRules, host: string): boolean {
  const { oauthClientMetadataAllow: allow, oauthClientMetadataDeny: deny } = rules
  const isIn = (hosts: readonly string[]) => hosts.some((pattern) => coversHost(pattern, host))
  return !isIn(deny) && (allow === null || isIn(allow))
}

/** `*.example.com` covers the names below `example.com`, and not that name. */
const coversHost = (pattern: string, host: string): boolean =>
  pattern.startsWith('*.') ? host.endsWith(pattern.slice(1)) : host === pattern
