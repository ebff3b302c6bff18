import { timingSafeEqual } from 'node:crypto'
import { hmac } from '../../lib/derived-keys.ts'
import { HOUR_MS, SECOND_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'

/** The parameter that carries when a request was first asked, under an HMAC over the request. */
const ASKED_AT = 'asked_at'
/** A person has so long for the log-in that a request asks for. After that the request is asked anew. */
const LASTS_MS = HOUR_MS
const MARK = /^(\d{1,15})\.([\w-]{43})$/

type KeysAndClock = Pick<Context, 'keys' | 'clock'>

/**
 * Whether a request asks for a log-in that is newer than the session's (`prompt=login`, `max_age`; OpenID Connect Core, section
 * 3.1.2.1). A log-in after the request was first asked meets it, once.
 * @returns the query with the time at which it was first asked, for the way over the log-in; null: it asks for none
 */
export function asksForLogin(context: KeysAndClock, params: URLSearchParams, authTime: Date): string | null {
  const now = context.clock()
  const wants = (params.get('prompt') ?? '').split(' ').includes('login')
  const maxAge = params.get('max_age')
  const isOld = maxAge !== null && now - authTime.getTime() > Number(maxAge) * SECOND_MS
  if (!wants && !isOld) return null
  const askedAt = readAskedAt(context, params)
  if (askedAt === null) return withAskedAt(context, params)
  return authTime.getTime() >= askedAt ? null : params.toString()
}

/** Whether a request, on its way over the log-in, still waits for one that is newer than the session's. */
export function awaitsLogin(context: KeysAndClock, params: URLSearchParams, authTime: Date): boolean {
  const askedAt = readAskedAt(context, params)
  return askedAt !== null && authTime.getTime() < askedAt
}

/** A query with the time of now, under an HMAC. */
export function withAskedAt(context: KeysAndClock, params: URLSearchParams): string {
  const [key] = context.keys.loginTime
  if (!key) throw new Error('No key to sign the time with')
  const at = context.clock()
  const signed = new URLSearchParams(params)
  signed.set(ASKED_AT, `${at}.${Buffer.from(macOf(key, params, at)).toString('base64url')}`)
  return signed.toString()
}

/** When this very request was first asked; null where it does not say so, or falsely, or it is too long ago. */
function readAskedAt(context: KeysAndClock, params: URLSearchParams): number | null {
  const [, time = '', mac = ''] = MARK.exec(params.get(ASKED_AT) ?? '') ?? []
  if (time === '') return null
  const at = Number(time)
  const given = new Uint8Array(Buffer.from(mac, 'base64url'))
  const isGenuine = context.keys.loginTime.some((key) => timingSafeEqual(macOf(key, params, at), given))
  return isGenuine && context.clock() - at <= LASTS_MS ? at : null
}

function macOf(key: Uint8Array, params: URLSearchParams, at: number): Uint8Array {
  const request = new URLSearchParams(params)
  request.delete(ASKED_AT)
  return hmac(key, `${at} ${request}`)
}
