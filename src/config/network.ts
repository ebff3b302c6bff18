import ipaddr from 'ipaddr.js'
import { type Parsed, quote } from './reader.ts'

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i

/** Parses an address or a name to listen on. IPv6 may have brackets. */
export function parseHost(found: string): Parsed<string> {
  const host = found.replace(/^\[(.*)\]$/, '$1')
  if (ipaddr.isValid(host) || (HOST_NAME.test(host) && !/^[\d.]+$/.test(host))) return { value: host }
  return { fault: `must be an address or a host name such as 127.0.0.1 or 0.0.0.0, not ${quote(found)}` }
}

/** Whether a server that listens on this host can be reached from this machine alone. */
export function isLoopback(host: string): boolean {
  if (ipaddr.isValid(host)) return ipaddr.process(host).range() === 'loopback'
  return host === 'localhost' || host.endsWith('.localhost')
}

/** Parses the issuer and base of links: http or https, no query. The trailing slash is removed. */
export function parsePublicUrl(found: string): Parsed<string> {
  const url = parseUrl(found)
  if (!url) return { fault: `must be a URL such as https://auth.example.com` }
  if (url.username || url.password) return { fault: 'must not hold a user or password' }
  if (url.search || url.hash || found.includes('?') || found.includes('#')) {
    return { fault: `must have no query and no fragment` }
  }
  return { value: url.href.replace(/(?<!\/)\/+$/, '') }
}

/** Parses a list of exact origins, separated by commas. */
export function parseOrigins(found: string): Parsed<string[]> {
  const origins = splitList(found)
  for (const origin of origins) {
    if (origin === '*') return { fault: 'must list exact origins; * would allow every site' }
    const url = parseUrl(origin)
    if (!url) return { fault: `must list origins such as https://app.example.com, not ${quote(origin)}` }
    if (url.origin !== origin)
      return { fault: `has ${quote(origin)}, which is no origin; write ${url.origin}` }
  }
  return { value: [...new Set(origins)] }
}

/**
 * Parses addresses and networks, separated by commas. Each becomes a CIDR; a single address is a /32 or /128.
 */
export function parseCidrs(found: string): Parsed<string[]> {
  const cidrs: string[] = []
  for (const item of splitList(found)) {
    if (ipaddr.isValidCIDR(item)) cidrs.push(item)
    else if (isFullAddress(item)) cidrs.push(`${item}/${ipaddr.parse(item).kind() === 'ipv4' ? 32 : 128}`)
    else return { fault: `must list addresses or CIDRs such as 10.0.0.0/8, not ${quote(item)}` }
  }
  return { value: [...new Set(cidrs)] }
}

/** Some parsers read `10.1` as an IPv4 address. Here it is taken for a typing error. */
function isFullAddress(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text) || ipaddr.IPv6.isValid(text)
}

/** Parses a list of host names, separated by commas. `*.example.com` covers all names below `example.com`. */
export function parseHostPatterns(found: string): Parsed<string[]> {
  const hosts = splitList(found).map((host) => host.toLowerCase())
  for (const host of hosts) {
    const name = host.replace(/^\*\./, '')
    if (!HOST_NAME.test(name) || !name.includes('.') || /^[\d.]+$/.test(name))
      return { fault: `must list hosts such as example.com or *.example.com, not ${quote(host)}` }
  }
  return { value: [...new Set(hosts)] }
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
const REDIS_SOCKET_FORM =
  'must name a Unix socket as in redis+unix:///run/redis/redis.sock or redis+unix://:PASSWORD@localhost/run/redis/redis.sock'

/**
 * Parses the URL of Redis or Valkey: user, password, host, port, number of the database; or user, password
 * and the path of a Unix socket. A fault never repeats a value, which may be a password; the names of members
 * are not secret.
 */
export function parseRedisUrl(found: string): Parsed<string> {
  const url = URL.parse(found)
  const isSocket = url?.protocol === 'redis+unix:'
  const isRedis = url !== null && /^(rediss?|valkeys?):$/.test(url.protocol) && url.hostname !== ''
  if (url === null || !(isRedis || isSocket)) return { fault: REDIS_FORM }
  const unknown = [...new Set(url.searchParams.keys())].map((name) => quote(name))
  if (unknown.length > 0) return { fault: `has members that are not known here: ${unknown.join(', ')}` }
  if (found.includes('?') || found.includes('#')) return { fault: 'must have no query and no fragment' }
  if (!isPercentEncoded(url.username) || !isPercentEncoded(url.password)) {
    return { fault: 'must have a % in its user or password written as %25' }
  }
  if (isSocket) {
    // A URL has a user and a password only before a host, so the form names one.
    const isForm = /^(localhost)?$/.test(url.host) && url.pathname.length > 1
    return isForm ? { value: found } : { fault: REDIS_SOCKET_FORM }
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
