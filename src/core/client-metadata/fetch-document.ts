import { lookup } from 'node:dns/promises'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { type RequestOptions, request } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { getCACertificates } from 'node:tls'
import { parseJson } from '../../lib/json.ts'
import { isGloballyReachable } from '../../lib/reachable.ts'
import { DAY_MS, MINUTE_MS, SECOND_MS } from '../../lib/time.ts'

/** How a document is reached. The product has `INTERNET`; a test gives a server of its own. */
export type Network = {
  /** All addresses of a name. */
  resolve(host: string): Promise<readonly string[]>
  /** Begins a request. `options.lookup` gives the one address to connect to. */
  request(options: RequestOptions, answered: (response: IncomingMessage) => void): ClientRequest
}

export const INTERNET: Network = {
  resolve: async (host) => (await lookup(host, { all: true })).map(({ address }) => address),
  request,
}

/** What was found at a URL, and for how long it holds; or a sentence that says why nothing was. */
export type Fetched = { json: unknown; freshForMs: number } | { fault: string }

export const FETCH_MS = 5 * SECOND_MS
const MAX_DOCUMENT_BYTES = 5 * 1024
const MIN_FRESH_MS = 5 * MINUTE_MS
const MAX_FRESH_MS = DAY_MS

/** Ends a fetch with a sentence that its caller may show. */
const refusal = (sentence: string): Error => new Error(sentence, { cause: REFUSED })
const REFUSED = 'refused'

/**
 * Fetches a JSON document whose URL a stranger chose (oauth.md, section 3, rules 4b and 4c). The address is looked up once,
 * decided on, and then connected to: a second look-up could answer another one (DNS rebinding). Follows no redirect, uses no
 * proxy, sends no cookie.
 * @param withinMs for the resolver, the connection and the answer together
 */
export async function fetchDocument(network: Network, url: URL, withinMs = FETCH_MS): Promise<Fetched> {
  const ended = new AbortController()
  let timer: Timer | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(refusal('The host did not answer in time.'))
      ended.abort()
    }, withinMs)
  })
  try {
    return await Promise.race([fetchInTime(network, url, ended.signal), late])
  } catch (error) {
    const isOurs = error instanceof Error && error.cause === REFUSED
    return { fault: isOurs ? error.message : 'The host could not be reached.' }
  } finally {
    clearTimeout(timer)
    ended.abort()
  }
}

async function fetchInTime(network: Network, url: URL, signal: AbortSignal): Promise<Fetched> {
  const address = await findAddress(network, url.hostname)
  const response = await ask(network, url, address, signal)
  requireAnswer(response)
  const text = await readText(response)
  return { json: parse(text), freshForMs: freshnessOf(response.headers) }
}

/** Every address must pass: otherwise which of them is connected to would be the host's choice. */
async function findAddress(network: Network, host: string): Promise<string> {
  const addresses = await network.resolve(host)
  const [first] = addresses
  if (first === undefined) throw refusal('The host has no address.')
  if (!addresses.every(isGloballyReachable)) throw refusal('The host is not on the public Internet.')
  return first
}

/**
 * The authorities that may sign a host's certificate: those of this system; where it has none, as in a container, those of the
 * runtime.
 */
function trustedAuthorities(): string[] | undefined {
  const ofSystem = getCACertificates('system')
  return ofSystem.length > 0 ? ofSystem : undefined
}

function ask(network: Network, url: URL, address: string, signal: AbortSignal): Promise<IncomingMessage> {
  const family = isIP(address)
  const pinned: LookupFunction = (_host, options, callback) =>
    options.all ? callback(null, [{ address, family }]) : callback(null, address, family)
  const ca = trustedAuthorities()
  const options: RequestOptions = {
    method: 'GET',
    host: url.hostname,
    servername: url.hostname,
    port: 443,
    path: url.pathname,
    headers: { accept: 'application/json', 'accept-encoding': 'identity', 'user-agent': 'Latchkey' },
    lookup: pinned,
    // Not the environment's NODE_TLS_REJECT_UNAUTHORIZED.
    rejectUnauthorized: true,
    agent: false,
    signal,
    ...(ca && { ca }),
  }
  return new Promise((resolve, reject) => {
    const asked = network.request(options, resolve)
    asked.on('error', reject)
    asked.end()
  })
}

const JSON_TYPE = /^application\/(?:[a-z0-9!#$&^_.-]{1,64}\+)?json$/

function requireAnswer(response: IncomingMessage): void {
  const { statusCode, headers } = response
  if (statusCode !== 200) throw refusal(`The host answered ${statusCode} instead of 200.`)
  const [type = ''] = (headers['content-type'] ?? '').toLowerCase().split(';')
  if (!JSON_TYPE.test(type.trim())) throw refusal('The host answered something else than JSON.')
  // Unpacked, the body could be larger than what was counted.
  if ((headers['content-encoding'] ?? 'identity') !== 'identity')
    throw refusal('The host compressed its answer.')
  if (Number(headers['content-length'] ?? 0) > MAX_DOCUMENT_BYTES) throw TOO_LARGE
}

const TOO_LARGE = refusal('The document is larger than 5 KB.')

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    size += chunk.length
    if (size > MAX_DOCUMENT_BYTES) throw TOO_LARGE
    chunks.push(chunk)
  }
  if (!response.complete) throw refusal('The host broke off its answer.')
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
  } catch {
    throw refusal('The document is not UTF-8.')
  }
}

function parse(text: string): unknown {
  try {
    return parseJson(text)
  } catch {
    throw refusal('The document is not JSON.')
  }
}

/** How long the host lets its answer be kept (RFC 9111, section 4.2.1), within our bounds. */
function freshnessOf(headers: IncomingMessage['headers']): number {
  const age = Math.max(0, Number(headers.age ?? 0) || 0)
  const leftMs = (maxAgeOf(headers) - age) * SECOND_MS
  return Math.min(MAX_FRESH_MS, Math.max(MIN_FRESH_MS, leftMs))
}

function maxAgeOf({ 'cache-control': control, expires, date }: IncomingMessage['headers']): number {
  if (control !== undefined) {
    if (/\bno-(?:store|cache)\b/i.test(control)) return 0
    const seconds =
      /\bs-maxage="?(\d{1,10})/i.exec(control)?.[1] ?? /\bmax-age="?(\d{1,10})/i.exec(control)?.[1]
    if (seconds !== undefined) return Number(seconds)
  }
  const lastsMs = Date.parse(expires ?? '') - Date.parse(date ?? '')
  return Number.isNaN(lastsMs) ? 0 : lastsMs / SECOND_MS
}
