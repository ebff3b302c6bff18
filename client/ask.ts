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
 * Posts a question to Latchkey. It is repeated only where no connection came about: whatever was sent may have been
 * counted, and a second time would charge the key twice.
 * @returns the JSON of the answer, for reading only: several requests may share it
 * @throws Error where there is no answer in time, or another one than 200; it names no credential
 */
export async function ask(latchkey: Latchkey, path: string, body: string, type: string): Promise<unknown> {
  const signal = AbortSignal.timeout(latchkey.timeLimitMs)
  const headers = { authorization: `Bearer ${latchkey.key}`, 'content-type': type }
  for (let tried = 1; ; tried++) {
    try {
      const response = await fetch(latchkey.url + path, {
        method: 'POST',
        headers,
        body,
        signal,
        redirect: 'error',
      })
      if (response.status === 200) return JSON.parse(await response.text(), freeze)
      await response.body?.cancel()
      throw new Error(`Latchkey answered ${response.status} to POST ${path}`)
    } catch (error) {
      if (tried === TRIES || signal.aborted || !wasRefused(error)) throw error
      await new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE_MS * tried))
    }
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
