import ipaddr from 'ipaddr.js'
import { type Parsed, quote } from './reader.ts'

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i

/** An address or a name to listen on; IPv6 with or without its brackets. */
export function parseHost(found: string): Parsed<string> {
  const host = found.replace(/^\[(.*)\]$/, '$1')
  if (ipaddr.isValid(host) || (HOST_NAME.test(host) && !/^[\d.]+$/.test(host))) return { value: host }
  return { fault: `must be an address or a host name such as 127.0.0.1 or 0.0.0.0, not ${quote(found)}` }
}

/** Whether only this machine can reach what listens there. */
export function isLoopback(host: string): boolean {
  if (ipaddr.isValid(host)) return ipaddr.process(host).range() === 'loopback'
  return host === 'localhost' || host.endsWith('.localhost')
}

/** The base of links and the issuer: http or https, no query, without the trailing slash. */
export function parsePublicUrl(found: string): Parsed<string> {
  const url = parseUrl(found)
  if (!url) return { fault: `must be a URL such as https://auth.example.com` }
  if (url.username || url.password) return { fault: 'must not hold a user or password' }
  if (url.search || url.hash || found.includes('?') || found.includes('#')) {
    return { fault: `must have no query and no fragment` }
  }
  return { value: url.href.replace(/(?<!\/)\/+$/, '') }
}

/** Exact origins, separated by commas. */
export function parseOrigins(found: string): Parsed<string[]> {
  const origins = splitList(found)
  for (const origin of origins) {
    if (origin === '*') return { fault: 'must list exact origins; * would let every site in' }
    const url = parseUrl(origin)
    if (!url) return { fault: `must list origins such as https://app.example.com, not ${quote(origin)}` }
    if (url.origin !== origin)
      return { fault: `has ${quote(origin)}, which is no origin; write ${url.origin}` }
  }
  return { value: [...new Set(origins)] }
}

/** Addresses and CIDRs, separated by commas, each as a CIDR; one address is /32 or /128. */
export function parseCidrs(found: string): Parsed<string[]> {
  const cidrs: string[] = []
  for (const item of splitList(found)) {
    if (ipaddr.isValidCIDR(item)) cidrs.push(item)
    else if (isFullAddress(item)) cidrs.push(`${item}/${ipaddr.parse(item).kind() === 'ipv4' ? 32 : 128}`)
    else return { fault: `must list addresses or CIDRs such as 10.0.0.0/8, not ${quote(item)}` }
  }
  return { value: [...new Set(cidrs)] }
}

/** `10.1` is a valid IPv4 address to some, and a mistyped one to everybody else. */
function isFullAddress(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || ipaddr.IPv6.isValid(text)
}

function parseUrl(text: string): URL | null {
  const url = /^https?:\/\//i.test(text) ? URL.parse(text) : null
  return url
}

function splitList(found: string): string[] {
  return found.split(/[\s,]+/).filter((item) => item !== '')
}

const REDIS_FORM =
  'must be a URL such as redis://localhost:6379 or rediss://:PASSWORD@redis.example.com:6379/0'

/**
 * A Redis or Valkey URL: a user and a password, a host, a port and the number of a database. Its faults never repeat a
 * value: it may be a password. Names of members are no secret.
 */
export function parseRedisUrl(found: string): Parsed<string> {
  const url = URL.parse(found)
  const isRedis = url !== null && /^(rediss?|valkeys?):$/.test(url.protocol) && url.hostname !== ''
  if (!isRedis) return { fault: REDIS_FORM }
  const unknown = [...new Set(url.searchParams.keys())].map((name) => quote(name))
  if (unknown.length > 0) return { fault: `has members that are not known here: ${unknown.join(', ')}` }
  if (found.includes('?') || found.includes('#')) return { fault: 'must have no query and no fragment' }
  if (!isPercentEncoded(url.username) || !isPercentEncoded(url.password)) {
    return { fault: 'must have a % in its user or password written as %25' }
  }
  if (!/^\/?\d{0,5}$/.test(url.pathname)) {
    return { fault: 'must name a database by its number, as in redis://localhost:6379/0' }
  }
  return { value: found }
}

/** Whether every `%` begins an escape, so that the text can be decoded. */
export function isPercentEncoded(text: string): boolean {
  try {
    decodeURIComponent(text)
    return true
  } catch {
    return false
  }
}
