/** The address of a Latchkey, and the credential with which it is asked. */
export type Latchkey = {
  /** Without a slash at the end. */
  url: string
  /** The API key of the service that asks. */
  key: string
  /** For one question, all tries together. */
  timeLimitMs: number
}

const TRIES = 3
const FIRST_PAUSE_MS = 100

/**
 * Sends a question to Latchkey by POST.
 * @returns the JSON of the answer, frozen, because several requests may share it
 * @throws Error where no answer comes in time, or its status is not 200. The error names no credential.
 */
export function ask(latchkey: Latchkey, path: string, body: string, type: string): Promise<unknown> {
  const headers = { authorization: `Bearer ${latchkey.key}`, 'content-type': type }
  return request(latchkey, path, { method: 'POST', headers, body })
}

/**
 * The issuer of Latchkey's tokens, from its metadata (RFC 8414).
 * @throws Error as `ask` does
 */
export async function fetchIssuer(latchkey: Omit<Latchkey, 'key'>): Promise<string> {
  const metadata = await fetchJson(latchkey, '/.well-known/oauth-authorization-server')
  const issuer = (metadata as { issuer?: unknown } | null)?.issuer
  if (typeof issuer !== 'string' || issuer === '') throw new Error('The metadata of Latchkey name no issuer')
  return issuer
}

/**
 * Reads public JSON of Latchkey.
 * @throws Error as `ask` does
 */
export const fetchJson = (latchkey: Omit<Latchkey, 'key'>, path: string): Promise<unknown> =>
  request(latchkey, path, { method: 'GET' })

/**
 * Sends a request. It is repeated only where no connection was established. An answer that got lost may have charged
 * the key, and a repetition would charge it twice (docs/decisions/0013).
 */
async function request(
  { url, timeLimitMs }: Omit<Latchkey, 'key'>,
  path: string,
  init: RequestInit & { method: string },
): Promise<unknown> {
  const signal = AbortSignal.timeout(timeLimitMs)
  for (let tried = 1; ; tried++) {
    try {
      const response = await fetch(url + path, { ...init, signal, redirect: 'error' })
      const text = await response.text()
      if (response.status === 200) return JSON.parse(text, freeze)
      throw new Error(
        `Latchkey answered ${response.status} to ${init.method} ${path}${sentenceOf(response, text)}`,
      )
    } catch (error) {
      if (tried === TRIES || signal.aborted || !wasRefused(error)) throw error
      await new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE_MS * tried))
    }
  }
}

/**
 * The reason in an error answer of Latchkey: `detail` of a problem (RFC 9457), or `error_description` (RFC 6749).
 * Latchkey repeats nothing that was sent. Another server might repeat a credential, so answers in other forms are left
 * out.
 */
function sentenceOf({ headers }: Response, text: string): string {
  try {
    const isProblem = headers.get('content-type')?.startsWith('application/problem+json')
    const { code, detail, request_id, error, error_description } = JSON.parse(text)
    const sentence = isProblem && code && request_id ? detail : error && error_description
    return typeof sentence === 'string' ? `: ${sentence}` : ''
  } catch {
    return ''
  }
}

const freeze = (_: string, value: unknown) => Object.freeze(value)

/** Whether the connection was refused, by the error codes of Node and of Bun. */
function wasRefused(error: unknown): boolean {
  const causes = [error, error instanceof Error ? error.cause : null]
  return causes.some(
    (cause) =>
      cause instanceof Error &&
      'code' in cause &&
      (cause.code === 'ECONNREFUSED' || cause.code === 'ConnectionRefused'),
  )
}
