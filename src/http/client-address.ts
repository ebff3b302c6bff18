import ipaddr from 'ipaddr.js'
import type { Config } from '../config.ts'
import type { Log } from '../lib/log.ts'

/** The server's part that knows the peer of a connection (Bun's `Server`). */
type PeerSource = { requestIP(request: Request): { address: string } | null } | null

/** The address of the client that a request comes from, in its canonical form; null where it has none. */
export type AddressOf = (request: Request, server: PeerSource) => string | null

const IPV6_PREFIX_BITS = 64

/**
 * Who is calling: the peer, or, where the peer is a trusted proxy, the last address in X-Forwarded-For that is not one.
 * The header of anybody else is ignored, with one warning.
 */
export function createAddressOf(config: Pick<Config, 'trustedProxies'>, log: Log): AddressOf {
  const trusted = config.trustedProxies.map((cidr) => ipaddr.parseCIDR(cidr))
  const isTrusted = (address: ipaddr.IPv4 | ipaddr.IPv6) =>
    trusted.some(([network, bits]) => address.kind() === network.kind() && address.match(network, bits))
  let warned = false

  return (request, server) => {
    const peer = parse(server?.requestIP(request)?.address)
    if (!peer) return null
    const forwarded = request.headers.get('x-forwarded-for')
    if (forwarded === null) return peer.toString()
    if (!isTrusted(peer)) {
      if (!warned)
        log.warn({ peer: peer.toString() }, 'X-Forwarded-For from a peer outside TRUSTED_PROXIES is ignored')
      warned = true
      return peer.toString()
    }
    let client = peer
    for (const hop of forwarded.split(',').reverse()) {
      const address = parse(hop.trim())
      if (!address) break
      client = address
      if (!isTrusted(address)) break
    }
    return client.toString()
  }
}

/** What counts as one client for limits: an IPv4 address, or the /64 of an IPv6 address. */
export function bucketOf(address: string | null): string {
  const parsed = parse(address ?? undefined)
  if (!parsed) return 'unknown'
  if (parsed.kind() === 'ipv4') return parsed.toString()
  return `${ipaddr.IPv6.networkAddressFromCIDR(`${parsed.toString()}/${IPV6_PREFIX_BITS}`).toString()}/${IPV6_PREFIX_BITS}`
}

/** An address in its plain form: IPv4 where it is one mapped into IPv6, no zone. */
function parse(text: string | undefined): ipaddr.IPv4 | ipaddr.IPv6 | null {
  const address = text?.split('%')[0]
  return address && ipaddr.isValid(address) ? ipaddr.process(address) : null
}
