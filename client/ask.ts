/** How a Latchkey is reached, and as whom. */
export type Latchkey = {
  /** Without a slash at its end. */
  url: string
  /** The asking service's own API key. */
  key: string
  /** For one question with all its tries. */
  timeLimitMs: number
}

const TRIES = 3
const FIRST_PAUSE_MS = 100

/**
 * Posts a question to Latchkey.
 * @returns the JSON of the answer, for reading only: several requests may share it
 * @throws Error where there is no answer in time, or another one than 200; it names no credential
 */
export function ask(latchkey: Latchkey, path: string, body: string, type: string): Promise<unknown> {
  const headers = { authorization: `Bearer ${latchkey.key}`, 'content-type': type }
  return request(latchkey, path, { method: 'POST', headers, body })
}

/**
 * The issuer of Latchkey's tokens, as its metadata names it (RFC 8414).
 * @throws Error like `ask`
 */
export async function fetchIssuer(latchkey: Omit<Latchkey, 'key'>): Promise<string> {
  const metadata = await request(latchkey, '/.well-known/oauth-authorization-server', { method: 'GET' })
  const issuer = (metadata as { issuer?: unknown } | null)?.issuer
  if (typeof issuer !== 'string' || issuer === '') throw new Error('The metadata of Latchkey name no issuer')
  return issuer
}

/**
 * Sends a request. It is repeated only where no connection came about: what was sent may have been counted, and a second
 * time would charge the key twice.
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
 * What Latchkey says of its refusal: a problem's `detail` (RFC 9457), or `error_description` (RFC 6749). Latchkey repeats
 * nothing that was sent; another server might, so any other answer is left out.
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

/** Whether nobody took the connection, in the words of Node and of Bun. */
function wasRefused(error: unknown): boolean {
  const causes = [error, error instanceof Error ? error.cause : null]
  return causes.some(
    (cause) =>
      cause instanceof Error &&
      'code' in cause &&
      (cause.code === 'ECONNREFUSED' || cause.code === 'ConnectionRefused'),
  )
}
