import { decodeJwt, decodeProtectedHeader } from 'jose'
import { type Refusal, refuse } from './refusal.ts'

/** The names by which a key is presented, in lower case: headers, and schemes of `Authorization` besides Bearer and Basic. */
export type KeyNames = { headers: readonly string[]; schemes: readonly string[] }

/**
 * Adds the headers and schemes of Latchkey's API_KEY_HEADERS and API_KEY_SCHEMES.
 * @throws TypeError for a name that no header has, and for `Authorization`
 */
export function readKeyNames(apiKeyHeaders: readonly string[], apiKeySchemes: readonly string[]): KeyNames {
  const headers = new Headers([
    ['x-api-key', ''],
    ...apiKeyHeaders.map((name): [string, string] => [name, '']),
  ])
  if (headers.has('authorization')) throw new TypeError('apiKeyHeaders are headers besides Authorization')
  return { headers: [...headers.keys()], schemes: apiKeySchemes.map((scheme) => scheme.toLowerCase()) }
}

/**
 * The one credential of a request, by the same rules as on Latchkey's own routes. `Headers` joins a repeated header
 * with a comma.
 */
export function readCredential(headers: Headers, names: KeyNames): string | Refusal {
  const found = ['authorization', ...names.headers].flatMap((name) => {
    const value = headers.get(name)
    return value === null ? [] : [{ name, value }]
  })
  const [only, second] = found
  if (only === undefined) return refuse('missing_credential')
  if (second !== undefined || only.value.includes(',')) return refuse('ambiguous_credentials')
  const [scheme, text] = only.name === 'authorization' ? splitScheme(only.value) : ['', only.value]
  const token = scheme === 'basic' ? keyOfBasic(text) : text
  const isKnown = scheme === '' || scheme === 'bearer' || scheme === 'basic' || names.schemes.includes(scheme)
  const isUsable = isKnown && token !== '' && !(scheme !== 'bearer' && isAccessToken(token))
  return isUsable ? token : refuse('invalid_token')
}

const WITH_SCHEME = /^([a-z0-9-]+) +(\S+) *$/i

/** The scheme of an `Authorization` in lower case, and what follows it; two empty texts where it has not both. */
function splitScheme(authorization: string): [scheme: string, text: string] {
  const [, scheme = '', text = ''] = WITH_SCHEME.exec(authorization) ?? []
  return [scheme.toLowerCase(), text]
}

/** The key that is the user name of HTTP Basic, whose password is empty; an empty text where Basic carries no key. */
function keyOfBasic(encoded: string): string {
  if (encoded.length > 512 || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return ''
  try {
    const text = atob(encoded)
    return text !== '' && text.indexOf(':') === text.length - 1 ? text.slice(0, -1) : ''
  } catch {
    return ''
  }
}

const COMPACT_JWS = /^eyJ[\w-]*\.[\w-]+\.[\w-]+$/

/**
 * Whether a credential has the complete form of an access token (RFC 9068); otherwise it is a key. Its beginning alone
 * does not decide, because an imported key may be a JWT of another issuer.
 */
export function isAccessToken(token: string): boolean {
  try {
    return (
      COMPACT_JWS.test(token) && /^(?:application\/)?at\+jwt$/i.test(String(decodeProtectedHeader(token).typ))
    )
  } catch {
    return false
  }
}

/**
 * Whether an access token says that it stands for a key: its client is its subject. Latchkey decides; this saves a question
 * that would charge the key.
 */
export function standsForKey(token: string): boolean {
  try {
    const { sub, client_id } = decodeJwt(token)
    return sub !== undefined && sub === client_id
  } catch {
    return false
  }
}

/**
 * The headers of a request, from Node's list of names and values. Node's object of headers keeps only the first
 * `Authorization`, so a second credential would go unnoticed.
 */
export function headersOfNode(rawHeaders: readonly string[]): Headers {
  const headers = new Headers()
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? ''
    // HTTP/2 has its request line there too, as `:path` and so on.
    if (!name.startsWith(':')) headers.append(name, rawHeaders[at + 1] ?? '')
  }
  return headers
}
