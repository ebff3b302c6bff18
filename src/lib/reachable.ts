import ipaddr from 'ipaddr.js'

/** IPv4 networks that are not globally reachable (RFC 6890 and the registry of IANA), with multicast. */
const CLOSED_4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
].map((cidr) => ipaddr.IPv4.parseCIDR(cidr))

/** All global unicast addresses of IPv6 lie in here. What IANA assigns outside of it is local, or embeds IPv4. */
const GLOBAL_6 = ipaddr.IPv6.parseCIDR('2000::/3')
/** What is closed within: protocol assignments (Teredo is decided before), documentation. */
const CLOSED_6 = ['2001::/23', '2001:db8::/32', '3fff::/20'].map((cidr) => ipaddr.IPv6.parseCIDR(cidr))

const MAPPED = ipaddr.IPv6.parseCIDR('::ffff:0:0/96')
const NAT64 = ipaddr.IPv6.parseCIDR('64:ff9b::/96')
const SIX_TO_FOUR = ipaddr.IPv6.parseCIDR('2002::/16')
const TEREDO = ipaddr.IPv6.parseCIDR('2001::/32')

/**
 * Whether an address can be reached from the whole Internet (RFC 6890). Otherwise a stranger who names a host could make
 * Latchkey ask the services behind it: this machine, its network, the metadata service of a cloud. An IPv4 address inside an
 * IPv6 one is decided as that address.
 * @param text as a resolver answers it; anything else, an address with a zone too, is not reachable
 */
export function isGloballyReachable(text: string): boolean {
  if (text.includes('%')) return false
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) return isOpen4(ipaddr.IPv4.parse(text).toByteArray())
  // ipaddr.js reads `::8.8.8.8`, which is not reachable, as the mapped address.
  if (/^::\d+\./.test(text)) return false
  return text.includes(':') && ipaddr.IPv6.isValid(text) && isOpen6(ipaddr.IPv6.parse(text))
}

function isOpen4(bytes: number[]): boolean {
  const address = new ipaddr.IPv4(bytes)
  return !CLOSED_4.some((network) => address.match(network))
}

function isOpen6(address: ipaddr.IPv6): boolean {
  const bytes = address.toByteArray()
  const last = bytes.slice(12)
  if (address.match(MAPPED) || address.match(NAT64)) return isOpen4(last)
  if (address.match(SIX_TO_FOUR)) return isOpen4(bytes.slice(2, 6))
  // Teredo: the server, and the client with all of its bits turned over (RFC 4380, section 4).
  if (address.match(TEREDO)) return isOpen4(bytes.slice(4, 8)) && isOpen4(last.map((byte) => byte ^ 0xff))
  if (!address.match(GLOBAL_6) || CLOSED_6.some((network) => address.match(network))) return false
  return !isIsatap(bytes) || isOpen4(last)
}

/** The interface part of an ISATAP address is `0:5efe` or `200:5efe` and an IPv4 address (RFC 5214, section 6.1). */
const isIsatap = (bytes: number[]) =>
  (bytes[8] === 0 || bytes[8] === 2) && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe
