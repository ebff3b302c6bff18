import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { RequestState } from './request-state.ts'

/** The codings that are offered; where a client takes both alike, the first. */
const CODINGS = ['zstd', 'gzip'] as const
type Coding = (typeof CODINGS)[number]

/** In characters: what is no longer saves less than its headers and the work cost. */
const WORTH_COMPRESSING = 1024

/** Levels by which bytes are worth more than time: what is compressed once. */
const FOR_GOOD = { zstd: 12, gzip: 9 }
const IN_PASSING = { zstd: 3, gzip: 5 }

const gzipped = promisify<Uint8Array, { level: number }, Uint8Array>(gzip)

/** Off the event loop, both of them. */
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
 * An answer that never changes, compressed once for each coding that is asked for.
 * @param read gives the bytes
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

/** An answer that is compressed where it is long. */
export async function codedAnswer(asked: Headers, text: string, headers: HeaderRecord): Promise<Response> {
  if (text.length <= WORTH_COMPRESSING) return new Response(text, { headers })
  const coding = codingFor(asked.get('accept-encoding'))
  const body = coding === null ? text : await compress(Buffer.from(text), coding, IN_PASSING)
  return coded(body, coding, headers)
}

type Mapped = { responseValue: unknown; set: { headers: object }; state: RequestState }

/**
 * A `mapResponse` hook of routes off the hot path, for lists that are long. Only what GET answers, which never holds a
 * secret (docs/decisions/0035).
 */
export async function compressAnswer({ responseValue, set, state }: Mapped): Promise<Response | undefined> {
  const { method, headers } = state.request
  const isJson =
    typeof responseValue === 'object' && responseValue !== null && !(responseValue instanceof Response)
  if (method !== 'GET' || !isJson) return
  return codedAnswer(headers, JSON.stringify(responseValue), {
    'content-type': 'application/json',
    ...set.headers,
  })
}
