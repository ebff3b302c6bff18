import ipaddr from 'ipaddr.js'

type Address = ipaddr.IPv4 | ipaddr.IPv6

/** An IPv6 address has 45 characters at most; what is left is for a zone and a length. */
const MAX_TEXT_LENGTH = 128
/** A household, or a server, has all addresses of such a network. */
const IPV6_PREFIX_BITS = 64

/** An address in its plain form: IPv4 where it is one mapped into IPv6, no zone; null where it is none. */
export function parseAddress(text: string): Address | null {
  if (text.length > MAX_TEXT_LENGTH) return null
  const [address = ''] = text.split('%')
  return ipaddr.isValid(address) && isWhole(address) ? ipaddr.process(address) : null
}

/**
 * A client's address as a proxy or a server writes it: also with a port, and IPv6 in brackets.
 * @example parseClientAddress('[2001:db8::1]:443')
 */
export function parseClientAddress(text: string): Address | null {
  const bracketed = /^\[([^\]]*:[^\]]*)\](?::\d{1,5})?$/.exec(text)
  return parseAddress(bracketed?.[1] ?? text.replace(/^([\d.]+):\d{1,5}$/, '$1'))
}

/** ipaddr.js also reads `1` and `0x7f.1` as IPv4, as C did; nobody writes that today but to get past a check. */
function isWhole(address: string): boolean {
  return address.includes(':') || ipaddr.IPv4.isValidFourPartDecimal(address)
}

/** A network in CIDR notation, its host bits cleared; an address alone is a network of one. null where it is none. */
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

/** What counts as one client for limits: an IPv4 address, or the /64 of an IPv6 address. */
export function bucketOf(address: string | null): string {
  const ip = parseAddress(address ?? '')
  if (!ip) return 'unknown'
  if (ip.kind() === 'ipv4') return ip.toString()
  return `${ipaddr.IPv6.networkAddressFromCIDR(`${ip}/${IPV6_PREFIX_BITS}`)}/${IPV6_PREFIX_BITS}`
}

/** Whether an address lies in one of the networks. */
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
