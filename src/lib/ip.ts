import ipaddr from 'ipaddr.js'

type Address = ipaddr.IPv4 | ipaddr.IPv6

/** An IPv6 address has at most 45 characters. The rest is for a zone and a prefix length. */
const MAX_TEXT_LENGTH = 128
/** One household or one server usually has all addresses of a /64 network. */
const IPV6_PREFIX_BITS = 64

/**
 * Parses an address and normalises it: an IPv4 address mapped into IPv6 becomes IPv4, and a zone is removed.
 * @returns null for any other text
 */
export function parseAddress(text: string): Address | null {
  if (text.length > MAX_TEXT_LENGTH) return null
  const [address = ''] = text.split('%')
  return ipaddr.isValid(address) && isWhole(address) ? ipaddr.process(address) : null
}

/**
 * Parses a client's address as a proxy or a server writes it: also with a port, and IPv6 in brackets.
 * @returns null for any other text
 * @example parseClientAddress('[2001:db8::1]:443')
 */
export function parseClientAddress(text: string): Address | null {
  const bracketed = /^\[([^\]]*:[^\]]*)\](?::\d{1,5})?$/.exec(text)
  return parseAddress(bracketed?.[1] ?? text.replace(/^([\d.]+):\d{1,5}$/, '$1'))
}

/** Most addresses are IPv4 in its canonical form. To know that costs a tenth of what parsing costs. */
const CANONICAL_IPV4 = /^(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}$/

/** A client's address, as `parseClientAddress` takes it, in its canonical form; null for any other text, and for none. */
export function readClientAddress(text: string | null | undefined): string | null {
  if (!text) return null
  return CANONICAL_IPV4.test(text) ? text : (parseClientAddress(text)?.toString() ?? null)
}

/**
 * ipaddr.js, like the C library, also reads `1` and `0x7f.1` as IPv4. Today such spellings serve only to pass
 * a check, so they are refused.
 */
function isWhole(address: string): boolean {
  return address.includes(':') || ipaddr.IPv4.isValidFourPartDecimal(address)
}

/**
 * Parses a network in CIDR notation and clears its host bits. A single address is a network of one address.
 * @returns null for any other text
 */
export function parseNetwork(text: string): string | null {
  if (text.length > MAX_TEXT_LENGTH) return null
  const [address = '', bits, ...more] = text.split('/')
  const parsed = parseAddress(address)
  if (!parsed || more.length > 0) return null
  const most = parsed.kind() === 'ipv4' ? 32 : 128
  const wasMapped = parsed.kind() === 'ipv4' && address.includes(':')
  const length = bits === undefined ? most : /^\d{1,3}$/.test(bits) ? Number(bits) - (wasMapped ? 96 : 0) : -1
  if (length < 0 || length > most) return null
  const cidr = `${parsed}/${length}`
  const network =
    parsed.kind() === 'ipv4'
      ? ipaddr.IPv4.networkAddressFromCIDR(cidr)
      : ipaddr.IPv6.networkAddressFromCIDR(cidr)
  return `${network}/${length}`
}

/**
 * The key by which clients are counted for rate limits: an IPv4 address, or the /64 network of an IPv6
 * address.
 */
export function bucketOf(address: string | null): string {
  if (address !== null && CANONICAL_IPV4.test(address)) return address
  const ip = parseAddress(address ?? '')
  if (!ip) return 'unknown'
  // As a mapped address, which becomes IPv4.
  if (ip.kind() === 'ipv4') return ip.toString()
  return `${ipaddr.IPv6.networkAddressFromCIDR(`${ip}/${IPV6_PREFIX_BITS}`)}/${IPV6_PREFIX_BITS}`
}

/** Whether the address lies in one of the networks (CIDR). */
export function isInNetworks(address: string, networks: readonly string[]): boolean {
  const parsed = parseAddress(address)
  return parsed !== null && networks.some((network) => contains(network, parsed))
}

/** Whether every network of `inner` lies within one of `outer`. */
export function areWithin(inner: readonly string[], outer: readonly string[]): boolean {
  return inner.every((network) =>
    outer.some((wider) => {
      const [address, bits] = ipaddr.parseCIDR(network)
      return contains(wider, address) && ipaddr.parseCIDR(wider)[1] <= bits
    }),
  )
}

function contains(network: string, address: Address): boolean {
  const [base, bits] = ipaddr.parseCIDR(network)
  return base.kind() === address.kind() && address.match(base, bits)
}
