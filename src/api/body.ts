import { fail } from '../lib/errors.ts'
import { parseJson } from '../lib/json.ts'

/** The largest body of a route that names no size of its own. */
const MAX_BODY_BYTES = 64 * 1024

/** Levels of lists and objects within each other. To describe why a deeper body does not fit its schema takes seconds. */
const MAX_BODY_DEPTH = 32

const TAKES_BODY = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])
const utf8 = new TextDecoder('utf-8', { fatal: true })

/** `nulls`: members that are kept where they are null, since to name them already asks for a scope. */
export type BodyBounds = { maxBytes?: number; nulls?: readonly string[] }

/**
 * Reads a JSON body: checks the type, then the size, then the text, so that nothing large is parsed. Members that are null
 * are left out, except in a PATCH, where null clears a member, and except those that `nulls` names.
 * @returns null where the request has no body
 * @throws Problem unsupported_media_type, body_too_large, malformed_json
 */
export async function readJson(
  request: Request,
  { maxBytes = MAX_BODY_BYTES, nulls = [] }: BodyBounds = {},
): Promise<unknown> {
  if (!TAKES_BODY.has(request.method) || !hasBody(request)) return null
  requireType(request, 'application/json')
  const text = await readText(request, maxBytes)
  const body = parse(text)
  const fault = faultOf(body)
  if (fault) fail('malformed_json', { detail: fault })
  return request.method === 'PATCH' ? body : withoutNulls(body, nulls)
}

function parse(text: string): unknown {
  try {
    return parseJson(text)
  } catch {
    // The error is not passed on as a cause: its message quotes the body, which may hold a password, in the log.
    fail('malformed_json')
  }
}

/**
 * What would make Elysia fail, with a 500, while it describes why the body does not fit its schema. Canary in
 * tests/api/canary.test.ts: "throws on a member called toString when it describes a fault".
 */
function faultOf(value: unknown, levels = MAX_BODY_DEPTH): string | null {
  if (typeof value !== 'object' || value === null) return null
  if (levels === 0) return 'The body is nested too deeply.'
  // Elysia turns a value into text, and would call this member.
  if (Object.hasOwn(value, 'toString')) return 'No member may be called toString.'
  // Object.values of a long list makes a text of every index.
  const members: unknown[] = Array.isArray(value) ? value : Object.values(value)
  for (const member of members) {
    const fault = faultOf(member, levels - 1)
    if (fault) return fault
  }
  return null
}

function withoutNulls(body: unknown, kept: readonly string[]): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body
  if (!Object.values(body).includes(null)) return body
  return Object.fromEntries(
    Object.entries(body).filter(([name, value]) => value !== null || kept.includes(name)),
  )
}

/**
 * Reads the text of a form.
 * @throws Problem unsupported_media_type, body_too_large
 */
export async function readFormText(request: Request): Promise<string> {
  requireType(request, 'application/x-www-form-urlencoded')
  return readText(request, MAX_BODY_BYTES)
}

/**
 * Reads the form of an OAuth request (RFC 6749, appendix B). A parameter without a value counts as omitted (section 3.2).
 * @throws Problem invalid_request where a parameter is repeated (section 3.2), and invalid_target where `resource` is;
 * unsupported_media_type, body_too_large
 */
export async function readForm(request: Request): Promise<Record<string, string>> {
  const form = new URLSearchParams(await readFormText(request))
  const names = [...form.keys()]
  if (form.getAll('resource').length > 1) fail('invalid_target', { detail: 'Name one resource.' })
  if (new Set(names).size < names.length) fail('invalid_request', { detail: 'A parameter is repeated.' })
  const members: Record<string, string> = Object.create(null)
  for (const [name, value] of form) if (value !== '') members[name] = value
  return members
}

function requireType({ headers }: Request, expected: string): void {
  // A compressed body is refused: unpacked, it could be larger than the size that was checked.
  if (!isType(headers.get('content-type') ?? '', expected) || headers.has('content-encoding'))
    fail('unsupported_media_type', { detail: `Send the body as ${expected} in UTF-8, not compressed.` })
}

function isType(given: string, expected: string): boolean {
  if (given === expected) return true
  const [type = '', ...parameters] = given.toLowerCase().split(';')
  const charset = parameters
    .map((parameter) => parameter.trim())
    .find((parameter) => parameter.startsWith('charset='))
  return type.trim() === expected && (charset === undefined || /^charset="?utf-8"?$/.test(charset))
}

/**
 * The Content-Length of a request in bytes; Bun reads no more than that. null where the body comes in chunks, where there
 * is no body, and where the header is repeated: Bun lets that pass, and joins the two values by a comma.
 */
function statedLength({ headers }: Request): number | null {
  const length = Number(headers.get('content-length') ?? Number.NaN)
  return Number.isNaN(length) ? null : length
}

/** Whether there is a body. Reading `request.body` makes a stream, which costs more than the rest; a length avoids it. */
export function hasBody(request: Request): boolean {
  const length = statedLength(request)
  return length === null ? request.body !== null : length > 0
}

async function readText(request: Request, maxBytes: number): Promise<string> {
  const length = statedLength(request)
  if (length !== null && length > maxBytes) fail('body_too_large')
  let bytes: Uint8Array
  try {
    bytes = length === null ? await readChunks(request, maxBytes) : await request.bytes()
  } catch (cause) {
    fail('invalid_request', { detail: 'The body could not be read whole.', cause })
  }
  if (bytes.length > maxBytes) fail('body_too_large')
  try {
    return utf8.decode(bytes)
  } catch {
    fail('malformed_json', { detail: 'The body is not UTF-8.' })
  }
}

/** Reads a body without a Content-Length, and stops as soon as it is larger than `maxBytes`. */
async function readChunks(request: Request, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of request.body ?? []) {
    chunks.push(chunk)
    size += chunk.length
    if (size > maxBytes) break
  }
  return Buffer.concat(chunks)
}
