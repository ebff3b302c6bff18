import type { Config } from '../../config/config.ts'
import { identifierOf } from './audience.ts'
import { MAX_IDENTIFIER_LENGTH } from './model.ts'

/** The characters of a URI (RFC 3986), without `#`. */
const PLAIN = /^[\w.~:/?[\]@!$&'()*+,;=%-]+$/
const AUTHORITY = /^[a-z]+:\/\/([^/?]+)/
const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]'])

/**
 * What is wrong with the identifier of a resource (oauth.md, section 2, rule 1); null: nothing. Scheme and host are in small letters, since
 * identifiers are compared byte for byte.
 */
export function findIdentifierFault(identifier: string): string | null {
  if (identifier.length > MAX_IDENTIFIER_LENGTH) return `Must be at most ${MAX_IDENTIFIER_LENGTH} characters`
  const authority = PLAIN.test(identifier) ? AUTHORITY.exec(identifier)?.[1] : undefined
  const url = authority === undefined ? null : URL.parse(identifier)
  if (authority === undefined || url === null) return 'Must be an https URL without a fragment'
  if (authority.includes('@')) return 'Must have no user name or password'
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && LOOPBACK.has(url.hostname)))
    return 'Must be an https URL, or http on localhost, 127.0.0.1 or [::1]'
  return identifier.startsWith(url.origin) ? null : 'Must have its scheme and host in small letters'
}

type Names = Pick<Config, 'publicUrl' | 'jwtAudience'>

/** The identifiers for which Latchkey itself makes tokens, or may yet. */
export const ownIdentifiers = (config: Names): string[] => [
  config.publicUrl,
  `${config.publicUrl}/`,
  ...(['users', 'latchkey', 'userinfo'] as const).map((audience) =>
    identifierOf(config, { audience, resource: null }),
  ),
]

/**
 * Whether an identifier is one of Latchkey's own, or lies below `/latchkey` or `/oauth` of the issuer. A token for it could be
 * taken for one of Latchkey's own.
 */
export const isOwnIdentifier = (config: Names, identifier: string): boolean =>
  ownIdentifiers(config).includes(identifier) ||
  ['latchkey', 'oauth']
    .map((path) => `${config.publicUrl}/${path}`)
    .some((own) => identifier === own || identifier.startsWith(`${own}/`) || identifier.startsWith(`${own}?`))
