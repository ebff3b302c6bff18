import { timingSafeEqual } from 'node:crypto'
import { base62Width, checksum, decodeBase62, encodeBase62 } from './base62.ts'
import { hmac } from './derived-keys.ts'

const CHECKSUM_WIDTH = 6
const API_KEY_BYTES = 32
const API_KEY_BODY_WIDTH = base62Width(API_KEY_BYTES)

/**
 * The maximum length of a presented credential. Longer text is refused unread. An access token with fifty
 * scopes has about 5,000 characters.
 */
export const MAX_CREDENTIAL_LENGTH = 8192

/** How many characters of a key are kept after its prefix. People recognise a key by them. */
const START_LENGTH = 8

/**
 * Makes a new API key: prefix, 256 random bits, CRC-32. The key is returned once; only its `hashToken` is
 * stored.
 */
export function makeApiKey(prefix: string): string {
  const body = prefix + encodeBase62(crypto.getRandomValues(new Uint8Array(API_KEY_BYTES)))
  return body + checksum(body)
}

/** The part of a key that may be displayed, such as `sk_AbCdEfGh`. */
export function startOf(key: string, prefix: string): string {
  return key.slice(0, prefix.length + START_LENGTH)
}

/** SHA-256 of the whole credential. This is what the database stores. */
export function hashToken(token: string): Uint8Array {
  return Bun.SHA256.hash(token) as Uint8Array
}

/**
 * Whether a string has the prefix and length of a Latchkey key but a wrong checksum: a typing error or a
 * guess, which is refused without a query. A string of another form may be an imported key.
 */
export function isMistypedApiKey(prefix: string, token: string): boolean {
  if (!token.startsWith(prefix) || token.length !== prefix.length + API_KEY_BODY_WIDTH + CHECKSUM_WIDTH)
    return false
  return !hasChecksum(token)
}

function hasChecksum(token: string): boolean {
  return checksum(token.slice(0, -CHECKSUM_WIDTH)) === token.slice(-CHECKSUM_WIDTH)
}

/**
 * The `typ` of access tokens (RFC 9068, section 2.1). It keeps another kind of JWT from being accepted as an
 * access token, and the reverse.
 */
export const ACCESS_TOKEN_TYPE = 'at+jwt'
/** All spellings of this type (RFC 9068, section 4). */
const ACCESS_TOKEN_TYPES = /^(?:application\/)?at\+jwt$/i

/**
 * The compact form of RFC 7515, section 3.1, strictly: decoders also accept padding and white space. The
 * header is a JSON object, so it begins with `eyJ`.
 */
const COMPACT_JWS = /^(eyJ[\w-]*)\.[\w-]+\.[\w-]+$/

/**
 * Whether a credential has the complete form of a Latchkey access token: a JWS whose header has its `typ`.
 * The first characters alone prove nothing: an imported key may be another issuer's JWT, or begin in the same
 * way by chance. This function, `isRefreshToken` and `isPortalBearer` are the only tests of a credential's kind,
 * so that it has the same kind wherever it is checked.
 */
export function isAccessToken(token: string): boolean {
  const [, header] = COMPACT_JWS.exec(token) ?? []
  return header !== undefined && ACCESS_TOKEN_TYPES.test(typeOf(header))
}

function typeOf(header: string): string {
  try {
    return String(JSON.parse(Buffer.from(header, 'base64url').toString()).typ)
  } catch {
    return ''
  }
}

/**
 * Whether a credential has the complete form of a refresh token: prefix, length and checksum. Only its MAC
 * proves that it is genuine.
 */
export function isRefreshToken(token: string): boolean {
  return token.startsWith(REFRESH_PREFIX) && token.length === REFRESH_LENGTH && hasChecksum(token)
}

/** The content of a refresh token. `salt` is the session's own 16 random bytes. */
export type RefreshClaims = { sessionId: string; generation: number; salt: Uint8Array }

const REFRESH_PREFIX = 'rt_'
const REFRESH_VERSION = 1
const REFRESH_CLAIMS_BYTES = 1 + 16 + 4 + 16
const REFRESH_MAC_BYTES = 16
const REFRESH_BYTES = REFRESH_CLAIMS_BYTES + REFRESH_MAC_BYTES
const REFRESH_LENGTH = REFRESH_PREFIX.length + base62Width(REFRESH_BYTES) + CHECKSUM_WIDTH

/**
 * Makes the refresh token of one generation of a session. It is computed, never stored: version, session id,
 * generation, salt, and a truncated HMAC-SHA-256 over these.
 * @param key 32 bytes
 */
export function makeRefreshToken(key: Uint8Array, claims: RefreshClaims): string {
  const bytes = new Uint8Array(REFRESH_BYTES)
  bytes[0] = REFRESH_VERSION
  bytes.set(Uint8Array.fromHex(claims.sessionId.replaceAll('-', '')), 1)
  new DataView(bytes.buffer).setUint32(17, claims.generation)
  bytes.set(claims.salt, 21)
  bytes.set(refreshMac(key, bytes.subarray(0, REFRESH_CLAIMS_BYTES)), REFRESH_CLAIMS_BYTES)
  const body = REFRESH_PREFIX + encodeBase62(bytes)
  return body + checksum(body)
}

/**
 * Reads a refresh token.
 * @param keys tried in order
 * @returns its content if one of the keys signed it, else null
 */
export function readRefreshToken(keys: readonly Uint8Array[], token: string): RefreshClaims | null {
  if (!isRefreshToken(token)) return null
  const bytes = decodeBase62(token.slice(REFRESH_PREFIX.length, -CHECKSUM_WIDTH), REFRESH_BYTES)
  if (!bytes || bytes[0] !== REFRESH_VERSION) return null
  const claims = bytes.subarray(0, REFRESH_CLAIMS_BYTES)
  const mac = bytes.subarray(REFRESH_CLAIMS_BYTES)
  if (!keys.some((key) => timingSafeEqual(refreshMac(key, claims), mac))) return null
  return {
    sessionId: formatUuid(bytes.subarray(1, 17)),
    generation: new DataView(bytes.buffer).getUint32(17),
    salt: bytes.slice(21, 37),
  }
}

function refreshMac(key: Uint8Array, claims: Uint8Array): Uint8Array {
  return hmac(key, claims).subarray(0, REFRESH_MAC_BYTES)
}

/** What the cookie of a browser session says; `salt` is the session's own 16 random bytes. */
export type CookieClaims = { sessionId: string; salt: Uint8Array }

const COOKIE_PREFIX = 'st_'
const COOKIE_VERSION = 1
const COOKIE_CLAIMS_BYTES = 1 + 16 + 16
const COOKIE_BYTES = COOKIE_CLAIMS_BYTES + 32
const COOKIE_LENGTH = COOKIE_PREFIX.length + base62Width(COOKIE_BYTES) + CHECKSUM_WIDTH

/** The value of a browser session's cookie. Computed, never stored: version, session id, salt and an HMAC-SHA-256 over these. */
export function makeCookieToken(key: Uint8Array, { sessionId, salt }: CookieClaims): string {
  const bytes = new Uint8Array(COOKIE_BYTES)
  bytes[0] = COOKIE_VERSION
  bytes.set(Uint8Array.fromHex(sessionId.replaceAll('-', '')), 1)
  bytes.set(salt, 17)
  bytes.set(hmac(key, bytes.subarray(0, COOKIE_CLAIMS_BYTES)), COOKIE_CLAIMS_BYTES)
  const body = COOKIE_PREFIX + encodeBase62(bytes)
  return body + checksum(body)
}

/** What a cookie says, if one of the keys signed it; null for anything else. */
export function readCookieToken(keys: readonly Uint8Array[], token: string): CookieClaims | null {
  if (!token.startsWith(COOKIE_PREFIX) || token.length !== COOKIE_LENGTH || !hasChecksum(token)) return null
  const bytes = decodeBase62(token.slice(COOKIE_PREFIX.length, -CHECKSUM_WIDTH), COOKIE_BYTES)
  if (!bytes || bytes[0] !== COOKIE_VERSION) return null
  const claims = bytes.subarray(0, COOKIE_CLAIMS_BYTES)
  const mac = bytes.subarray(COOKIE_CLAIMS_BYTES)
  if (!keys.some((key) => timingSafeEqual(hmac(key, claims), mac))) return null
  return { sessionId: formatUuid(bytes.subarray(1, 17)), salt: bytes.slice(17, 33) }
}

const ONE_TIME_PREFIX = 'et_'
const ONE_TIME_VERSION = 1
/** In a token a purpose is its place in this list: a new one goes to the end. */
export const ONE_TIME_PURPOSES = ['verify', 'change_email', 'reset', 'invite'] as const
/** What a computed one-time token is good for. */
export type OneTimePurpose = (typeof ONE_TIME_PURPOSES)[number]
/** What a one-time token says: the row that it stands for, and what for. */
export type OneTimeClaims = { id: string; purpose: OneTimePurpose }

const ONE_TIME_CLAIMS_BYTES = 1 + 1 + 16
const ONE_TIME_MAC_BYTES = 32
const ONE_TIME_BYTES = ONE_TIME_CLAIMS_BYTES + ONE_TIME_MAC_BYTES
const ONE_TIME_LENGTH = ONE_TIME_PREFIX.length + base62Width(ONE_TIME_BYTES) + CHECKSUM_WIDTH

/** The one-time token of a row. Computed, never stored: version, purpose, id and an HMAC-SHA-256 over these. */
export function makeOneTimeToken(key: Uint8Array, { id, purpose }: OneTimeClaims): string {
  const bytes = new Uint8Array(ONE_TIME_BYTES)
  bytes[0] = ONE_TIME_VERSION
  bytes[1] = ONE_TIME_PURPOSES.indexOf(purpose)
  bytes.set(Uint8Array.fromHex(id.replaceAll('-', '')), 2)
  bytes.set(hmac(key, bytes.subarray(0, ONE_TIME_CLAIMS_BYTES)), ONE_TIME_CLAIMS_BYTES)
  const body = ONE_TIME_PREFIX + encodeBase62(bytes)
  return body + checksum(body)
}

/** What a one-time token says, if one of the keys signed it; null for anything else. */
export function readOneTimeToken(keys: readonly Uint8Array[], token: string): OneTimeClaims | null {
  if (!token.startsWith(ONE_TIME_PREFIX) || token.length !== ONE_TIME_LENGTH || !hasChecksum(token))
    return null
  const bytes = decodeBase62(token.slice(ONE_TIME_PREFIX.length, -CHECKSUM_WIDTH), ONE_TIME_BYTES)
  const purpose = ONE_TIME_PURPOSES[bytes?.[1] ?? -1]
  if (!bytes || bytes[0] !== ONE_TIME_VERSION || purpose === undefined) return null
  const claims = bytes.subarray(0, ONE_TIME_CLAIMS_BYTES)
  const mac = bytes.subarray(ONE_TIME_CLAIMS_BYTES)
  if (!keys.some((key) => timingSafeEqual(hmac(key, claims), mac))) return null
  return { id: formatUuid(claims.subarray(2)), purpose }
}

/** The prefix of the token in a link to the portal, and that of a portal session's bearer. No key has them. */
export const PORTAL_LINK_PREFIX = 'pl_'
export const PORTAL_BEARER_PREFIX = 'pt_'

/** The token of a link to the portal, which works once. Only `hashToken` of it is stored. */
export const makePortalLink = (): string => makeApiKey(PORTAL_LINK_PREFIX)
/** The bearer of a portal session. Only `hashToken` of it is stored. */
export const makePortalBearer = (): string => makeApiKey(PORTAL_BEARER_PREFIX)

/** Whether a text has the complete form of the token of a portal link. */
export const isPortalLink = (token: string): boolean => isRandomToken(PORTAL_LINK_PREFIX, token)
/** Whether a credential has the complete form of a portal session's bearer: prefix, length and checksum. */
export const isPortalBearer = (token: string): boolean => isRandomToken(PORTAL_BEARER_PREFIX, token)

function isRandomToken(prefix: string, token: string): boolean {
  const length = prefix.length + API_KEY_BODY_WIDTH + CHECKSUM_WIDTH
  return token.startsWith(prefix) && token.length === length && hasChecksum(token)
}

/** An authorization code, which works once. Only `hashToken` of it is stored. */
export const makeAuthorizationCode = (): string => makeApiKey('ac_')

/** The code with which a device polls. Only `hashToken` of it is stored. */
export const makeDeviceCode = (): string => makeApiKey('dc_')

/** A new set-up token, which is random. Only `hashToken` of it is stored. */
export const makeSetupToken = (): string => makeApiKey(ONE_TIME_PREFIX)

function formatUuid(bytes: Uint8Array): string {
  return bytes.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
