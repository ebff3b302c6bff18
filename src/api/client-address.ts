import ipaddr from 'ipaddr.js'
import { LRUCache } from 'lru-cache'
import type { Config } from '../config/config.ts'
import { parseClientAddress } from '../lib/ip.ts'
import type { Log } from '../lib/log.ts'

/** The part of Bun's `Server` that knows the peer of a connection. */
export type PeerSource = { requestIP(request: Request): { address: string } | null } | null

/** The client's address in its canonical form; null: unknown. Call it before the request is answered. */
export type AddressOf = (request: Request, server: PeerSource) => string | null

type Address = { ip: ipaddr.IPv4 | ipaddr.IPv6; text: string; isTrusted: boolean }

const MAX_REMEMBERED_PEERS = 10_000
/** How many proxies may stand behind each other. A header of 16 KB has room for two thousand addresses to parse. */
const MAX_HOPS = 32

/**
 * Makes the function that finds a client's address: the peer, or, where the peer is a trusted proxy, the last address in
 * X-Forwarded-For that is not a trusted proxy. The header of any other peer is ignored, with one warning; otherwise a
 * client could choose its address. Where a trusted proxy names something that is no address, the client's address is
 * unknown: the address of the proxy itself could be on a key's list, and would put all clients under one rate limit.
 */
export function createAddressOf(config: Pick<Config, 'trustedProxies'>, log: Log): AddressOf {
  const trusted = config.trustedProxies.map((cidr) => ipaddr.parseCIDR(cidr))
  const warnOfIgnored = warnOnce(log, 'X-Forwarded-For from a peer outside TRUSTED_PROXIES is ignored')
  const warnOfUnreadable = warnOnce(
    log,
    'X-Forwarded-For from a trusted proxy holds what is no address: its client has none, so keys that are bound to addresses refuse it',
  )

  const describe = (text: string): Address | null => {
    const ip = parseClientAddress(text)
    if (!ip) return null
    const isTrusted = trusted.some(
      ([network, bits]) => ip.kind() === network.kind() && ip.match(network, bits),
    )
    return { ip, text: ip.toString(), isTrusted }
  }
  // Remembered, because peers repeat and parsing an address costs more than the rest of a request's bookkeeping.
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
      warnOfIgnored(peer.text)
      return peer.text
    }
    let client = peer
    for (const hop of forwarded.split(',').slice(-MAX_HOPS).reverse()) {
      const address = describe(hop.trim())
      if (!address) {
        warnOfUnreadable(peer.text)
        return null
      }
      client = address
      if (!address.isTrusted) break
    }
    return client.text
  }
}

function warnOnce(log: Log, message: string): (peer: string) => void {
  let isTold = false
  return (peer) => {
    if (!isTold) log.warn({ peer }, message)
    isTold = true
  }
}
