import { KEYS_READ, KEYS_WRITE, parseScopes, RESERVED_PREFIX } from '../lib/scopes.ts'
import { PORTAL_BEARER_PREFIX, PORTAL_LINK_PREFIX } from '../lib/tokens.ts'
import { type Parsed, quote } from './reader.ts'

const PREFIX = /^[a-z][a-z0-9]*_$/
const MAX_PREFIX_LENGTH = 16
const MAX_AUDIENCE_LENGTH = 255

/**
 * Parses the prefix of all API keys. `rt_` is the prefix of refresh tokens, `pl_` and `pt_` are those of the portal,
 * and `ey` begins every JWT, so none of them is allowed.
 */
export function parseApiKeyPrefix(found: string): Parsed<string> {
  if (found.length > MAX_PREFIX_LENGTH || !PREFIX.test(found)) {
    return {
      fault: `must be a small letter, then small letters or digits, then _, at most ${MAX_PREFIX_LENGTH} characters, not ${quote(found)}`,
    }
  }
  if (found === 'rt_') return { fault: 'must not be rt_, with which refresh tokens start' }
  if (found === PORTAL_LINK_PREFIX || found === PORTAL_BEARER_PREFIX)
    return { fault: `must not be ${found}, with which tokens of the portal start` }
  if (found.startsWith('ey')) return { fault: 'must not start with ey, as access tokens do' }
  return { value: found }
}

/**
 * Parses the ceiling of users: `any`, or a list of scopes. Only an admin grants Latchkey's own scopes, one by
 * one, so the list may not contain them.
 */
export function parseUserScopes(found: string): Parsed<'any' | string[]> {
  if (found.toLowerCase() === 'any') return { value: 'any' }
  const scopes = parseScopes(found)
  if ('fault' in scopes) return { fault: `must be any, or scopes such as read,write. ${scopes.fault}` }
  const reserved = scopes.find(
    (scope) => scope.startsWith(RESERVED_PREFIX) && scope !== KEYS_READ && scope !== KEYS_WRITE,
  )
  if (reserved) return { fault: `must not hold ${reserved}: an admin grants it to single users` }
  return { value: scopes }
}

/** Parses the audience of access tokens: one word, often a URL. */
export function parseAudience(found: string): Parsed<string> {
  if (found.length <= MAX_AUDIENCE_LENGTH && /^[\x21-\x7e]+$/.test(found)) return { value: found }
  return { fault: `must be one word of at most ${MAX_AUDIENCE_LENGTH} characters` }
}
