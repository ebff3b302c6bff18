import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { RequestState } from './request-state.ts'

/** The codings that are offered; the first where a client likes both equally. */
const CODINGS = ['zstd', 'gzip'] as const
type Coding = (typeof CODINGS)[number]

/** Characters of a text that is still sent as it is: compressing it would save less than it costs. */
const WORTH_COMPRESSING = 1024

/** Levels for what is compressed once and kept, and for what is compressed for one answer. */
const FOR_GOOD = { zstd: 12, gzip: 9 }
const IN_PASSING = { zstd: 3, gzip: 5 }

const gzipped = promisify<Uint8Array, { level: number }, Uint8Array>(gzip)

/** Compresses off the event loop, so that other requests go on. */
const compress = (bytes: Uint8Array, coding: Coding, levels: Record<Coding, number>): Promise<Uint8Array> =>
  coding === 'zstd' ? Bun.zstdCompress(bytes, { level: levels.zstd }) : gzipped(bytes, { level: levels.gzip })

/** What a header of preferences weighs each of its values with, in lower case (RFC 9110, section 12.4.2). */
export function weightsOf(header: string): Map<string, number> {
  const weights = new Map<string, number>()
  for (const item of header.toLowerCase().split(',')) {
    const [name = '', ...parameters] = item.split(';').map((part) => part.trim())
    const weight = parameters.find((parameter) => parameter.startsWith('q='))
    weights.set(name, weight === undefined ? 1 : Number(weight.slice(2)) || 0)
  }
  return weights
}

/** The coding that a client prefers of ours (RFC 9110, section 12.5.3); null: as it is. */
export function codingFor(accepted: string | null): Coding | null {
  if (accepted === null) return null
  const weights = weightsOf(accepted)
  const weightOfCoding = (coding: Coding) => weights.get(coding) ?? weights.get('*') ?? 0
  const [best] = CODINGS.toSorted((a, b) => weightOfCoding(b) - weightOfCoding(a))
  return best !== undefined && weightOfCoding(best) > 0 ? best : null
}

type HeaderRecord = Record<string, string>

function coded(body: Uint8Array | string, coding: Coding | null, given: HeaderRecord): Response {
  const headers = new Headers(given)
  headers.append('vary', 'Accept-Encoding')
  if (coding !== null) headers.set('content-encoding', coding)
  return new Response(body as Uint8Array<ArrayBuffer> | string, { headers })
}

/**
 * Answers with bytes that never change, compressed once for each coding that a client asks for.
 * @param read gives the bytes; called once for each coding
 */
export function createCodedAnswer(read: () => Promise<Uint8Array>, headers: HeaderRecord) {
  const bodies = new Map<Coding | null, Promise<Uint8Array>>()
  return async ({ headers: asked }: Request): Promise<Response> => {
    const coding = codingFor(asked.get('accept-encoding'))
    const made = bodies.get(coding)
    const body = made ?? read().then((bytes) => (coding === null ? bytes : compress(bytes, coding, FOR_GOOD)))
    bodies.set(coding, body)
    return coded(await body, coding, headers)
  }
}

/** An answer with a text, compressed where the text is long and the client allows it. */
export async function codedAnswer(asked: Headers, text: string, headers: HeaderRecord): Promise<Response> {
  if (text.length <= WORTH_COMPRESSING) return new Response(text, { headers })
  const coding = codingFor(asked.get('accept-encoding'))
  const body = coding === null ? text : await compress(Buffer.from(text), coding, IN_PASSING)
  return coded(body, coding, headers)
}

type Mapped = { responseValue: unknown; set: { headers: object }; state: RequestState }

/**
 * A `mapResponse` hook that compresses long answers, but for those to POST, which may hold a secret beside text that
 * an attacker chose, whose compressed length would tell the secret (docs/decisions/0035). Routes on the hot path do not
 * use it, because it makes a route wait.
 */
export async function compressAnswer({ responseValue, set, state }: Mapped): Promise<Response | undefined> {
  const { method } = state.request
  if (method === 'POST' || method === 'HEAD') return
  // Named one by one: for a hook that hands its context on whole, Elysia also parses the bodies that a route ignores.
  return compressWithoutSecret({ responseValue, set, state })
}

/** The same, for a single POST route whose answer is long and holds no secret. */
export async function compressWithoutSecret({
  responseValue,
  set,
  state: { request },
}: Mapped): Promise<Response | undefined> {
  const isJson =
    typeof responseValue === 'object' && responseValue !== null && !(responseValue instanceof Response)
  if (!isJson) return
  return codedAnswer(request.headers, JSON.stringify(responseValue), {
    'content-type': 'application/json',
    ...set.headers,
  })
}
