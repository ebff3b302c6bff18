import { decodeJwt, decodeProtectedHeader } from 'jose'
import { type Refusal, refuse } from './refusal.ts'

const BEARER = /^bearer +(\S+) *$/i

/**
 * The one credential of a request, by the same rules as on Latchkey's own routes. `Headers` joins a repeated header
 * with a comma.
 */
export function readCredential(headers: Headers): string | Refusal {
  const authorization = headers.get('authorization')
  const apiKey = headers.get('x-api-key')
  if (authorization === null && apiKey === null) return refuse('missing_credential')
  if (authorization !== null && apiKey !== null) return refuse('ambiguous_credentials')
  if ((authorization ?? apiKey)?.includes(',')) return refuse('ambiguous_credentials')
  const bearer = BEARER.exec(authorization ?? '')?.[1]
  const token = apiKey ?? bearer ?? keyOfBasic(authorization ?? '')
  const isUsable = token !== '' && !(bearer === undefined && isAccessToken(token))
  return isUsable ? token : refuse('invalid_token')
}

const BASIC = /^basic +([A-Za-z0-9+/]+={0,2}) *$/i

/** The key that is the user name of HTTP Basic, whose password is empty; an empty text where Basic carries no key. */
function keyOfBasic(authorization: string): string {
  const encoded = BASIC.exec(authorization)?.[1] ?? ''
  if (encoded.length > 512) return ''
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
 * The headers that carry credentials, from Node's list of names and values. Node's object of headers keeps only the
 * first `Authorization`, so a second credential would go unnoticed.
 */
export function headersOfNode(rawHeaders: readonly string[]): Headers {
  const headers = new Headers()
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]?.toLowerCase()
    if (name === 'authorization' || name === 'x-api-key') headers.append(name, rawHeaders[at + 1] ?? '')
  }
  return headers
}
