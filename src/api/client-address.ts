import ipaddr from 'ipaddr.js'
import { LRUCache } from 'lru-cache'
import type { Config } from '../config/config.ts'
import { parseAddress } from '../lib/ip.ts'
import type { Log } from '../lib/log.ts'

/** The server's part that knows the peer of a connection (Bun's `Server`). */
export type PeerSource = { requestIP(request: Request): { address: string } | null } | null

/** The address of the client that a request comes from, in its canonical form; null where it has none. Asked before the answer is sent. */
export type AddressOf = (request: Request, server: PeerSource) => string | null

type Address = { ip: ipaddr.IPv4 | ipaddr.IPv6; text: string; isTrusted: boolean }

const MAX_REMEMBERED_PEERS = 10_000
/** Proxies one behind the other. A header of 16 KB may name two thousand. */
const MAX_HOPS = 32

/**
 * Who is calling: the peer, or, where the peer is a trusted proxy, the last address in X-Forwarded-For that is not one.
 * The header of anybody else is ignored, with one warning.
 */
export function createAddressOf(config: Pick<Config, 'trustedProxies'>, log: Log): AddressOf {
  const trusted = config.trustedProxies.map((cidr) => ipaddr.parseCIDR(cidr))
  let warned = false

  const describe = (text: string): Address | null => {
    const ip = parseAddress(text)
    if (!ip) return null
    const isTrusted = trusted.some(
      ([network, bits]) => ip.kind() === network.kind() && ip.match(network, bits),
    )
    return { ip, text: ip.toString(), isTrusted }
  }
  // Peers repeat, and reading an address costs more than the rest of a request's bookkeeping.
  const peers = new LRUCache<string, Address>({ max: MAX_REMEMBERED_PEERS })
  const describePeer = (text: string | undefined): Address | null => {
    if (text === undefined) return null
    const known = peers.get(text)
    if (known) return known
    const address = describe(text)
    if (address) peers.set(text, address)
    return address
  }

  return (request, server) => {
    const peer = describePeer(server?.requestIP(request)?.address)
    if (!peer) return null
    const forwarded = request.headers.get('x-forwarded-for')
    if (forwarded === null) return peer.text
    if (!peer.isTrusted) {
      if (!warned)
        log.warn({ peer: peer.text }, 'X-Forwarded-For from a peer outside TRUSTED_PROXIES is ignored')
      warned = true
      return peer.text
    }
    let client = peer
    for (const hop of forwarded.split(',').slice(-MAX_HOPS).reverse()) {
      const address = describe(hop.trim())
      if (!address) break
      client = address
      if (!address.isTrusted) break
    }
    return client.text
  }
}
