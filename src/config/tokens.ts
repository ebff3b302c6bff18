import { KEYS_READ, KEYS_WRITE, parseScopes, RESERVED_PREFIX } from '../lib/scopes.ts'
import { type Parsed, quote } from './reader.ts'

const PREFIX = /^[a-z][a-z0-9]*_$/
const MAX_PREFIX_LENGTH = 16
const MAX_AUDIENCE_LENGTH = 255

/** What every API key starts with. A refresh token's `rt_` and the `ey` of every JWT are taken. */
export function parseApiKeyPrefix(found: string): Parsed<string> {
  if (found.length > MAX_PREFIX_LENGTH || !PREFIX.test(found)) {
    return {
      fault: `must be a small letter, then small letters or digits, then _, at most ${MAX_PREFIX_LENGTH} characters, not ${quote(found)}`,
    }
  }
  if (found === 'rt_') return { fault: 'must not be rt_, with which refresh tokens start' }
  if (found.startsWith('ey')) return { fault: 'must not start with ey, as access tokens do' }
  return { value: found }
}

/** The ceiling of users: `any`, or scopes. Latchkey's own scopes are for admins to grant, one by one. */
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

/** The audience of access tokens: one word, often a URL. */
export function parseAudience(found: string): Parsed<string> {
  if (found.length <= MAX_AUDIENCE_LENGTH && /^[\x21-\x7e]+$/.test(found)) return { value: found }
  return { fault: `must be one word of at most ${MAX_AUDIENCE_LENGTH} characters` }
}
