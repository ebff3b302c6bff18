import { connect } from 'node:net'

/**
 * Why there was no answer. `refused`: nothing listens; `cut`: the connection ended before the answer; `late`:
 * no answer in time.
 */
export type Failure = 'refused' | 'cut' | 'late'

/** An answer as received, with one character for each byte. `status` is 0 if there was none. */
export type WireAnswer = { status: number; head: string; body: string; failure: Failure | null }

/** A connection on which a test controls every byte. */
export type Wire = {
  /** Latin-1: one byte for each character. */
  send(text: string): void
  /**
   * Waits for the next answer, whose length is in its headers. With `untilClosed`: reads until the server
   * closes the connection, as for a status that has no body whatever its headers say.
   */
  answer(options?: { untilClosed?: boolean; withinMs?: number }): Promise<WireAnswer>
  /** Resolves when the server has closed the connection, with the time since it was opened. */
  closed: Promise<{ seconds: number }>
  isOpen(): boolean
  end(): void
}

type At = { url: string }

/** Opens a connection to a service. */
export function dial({ url }: At): Wire {
  const { hostname, port } = new URL(url)
  const openedAt = performance.now()
  const socket = connect(Number(port), hostname)
  socket.setNoDelay(true)
  let text = ''
  let isOpen = true
  let whyClosed: Failure = 'cut'
  let changed = Promise.withResolvers<void>()
  const wake = () => {
    changed.resolve()
    changed = Promise.withResolvers()
  }
  const over = () => {
    isOpen = false
    wake()
  }
  const closed = new Promise<{ seconds: number }>((resolve) => {
    socket.once('close', () => {
      over()
      resolve({ seconds: (performance.now() - openedAt) / 1000 })
    })
  })
  socket.once('end', over)
  // The server may cut the connection of a refused request. The answer received until then counts.
  socket.on('error', (error) => {
    if ('code' in error && error.code === 'ECONNREFUSED') whyClosed = 'refused'
  })
  socket.setEncoding('latin1')
  socket.on('data', (chunk) => {
    text += chunk
    wake()
  })
  return {
    send: (bytes) => {
      socket.write(bytes, 'latin1')
    },
    async answer({ untilClosed = false, withinMs } = {}) {
      let isLate = false
      const expire = () => {
        isLate = true
        wake()
      }
      const timer = withinMs === undefined ? undefined : setTimeout(expire, withinMs)
      try {
        for (;;) {
          const [found, rest] = untilClosed && isOpen ? [null, text] : takeAnswer(text, untilClosed)
          if (found) {
            text = rest
            return found
          }
          if (!isOpen || isLate) {
            return { status: 0, head: '', body: '', failure: isOpen ? 'late' : whyClosed }
          }
          await changed.promise
        }
      } finally {
        clearTimeout(timer)
      }
    },
    closed,
    isOpen: () => isOpen,
    end: () => socket.destroy(),
  }
}

/** The first complete answer in a text, and the rest of the text. */
function takeAnswer(text: string, isLast: boolean): [WireAnswer | null, string] {
  const end = text.indexOf('\r\n\r\n')
  if (end === -1) return [null, text]
  const head = text.slice(0, end)
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1])
  const bodyStart = end + 4
  const length = isLast ? text.length - bodyStart : Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0)
  if (text.length < bodyStart + length) return [null, text]
  const body = text.slice(bodyStart, bodyStart + length)
  return [{ status, head, body, failure: null }, text.slice(bodyStart + length)]
}

const LATE_MS = 5_000

/**
 * Sends one request byte for byte on a new connection, for requests that no client library sends: a repeated
 * header, half a header, no header.
 * @throws Error if nothing listens, or there is no answer in five seconds
 */
export async function sendRaw(
  at: At,
  startLine: string,
  headers: readonly string[],
  body = '',
): Promise<WireAnswer> {
  const host = headers.some((header) => /^host:/i.test(header)) ? [] : ['Host: latchkey.test']
  const lines = [`${startLine} HTTP/1.1`, ...host, 'Connection: close', ...headers]
  const wire = dial(at)
  wire.send(bytesOf(`${lines.join('\r\n')}\r\n\r\n${body}`))
  const answer = await wire.answer({ untilClosed: true, withinMs: LATE_MS })
  wire.end()
  if (answer.failure === 'refused' || answer.failure === 'late')
    throw new Error(`No answer to ${startLine}: ${answer.failure}`)
  return { ...answer, head: textOf(answer.head), body: textOf(answer.body) }
}

/** UTF-8 as one character for each byte, and back. */
const bytesOf = (text: string) => Buffer.from(text).toString('latin1')
const textOf = (bytes: string) => Buffer.from(bytes, 'latin1').toString()

/** The result of a request: a complete answer, or `status` 0 and the reason why there was none. */
export type Reply = {
  status: number
  headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what it then asserts
  body: any
  failure: Failure | null
  /** The server that received the request. */
  url: string
  /** In milliseconds of `performance.now()`. */
  sentAt: number
  ms: number
}

export type Ask = { json?: unknown; bearer?: string; apiKey?: string }

/** A client with at most one connection, which is kept alive between requests. */
export type KeepAliveClient = {
  send(route: string, ask?: Ask): Promise<Reply>
  /** Closes the connection. The next request opens another one. */
  close(): void
}

const GIVEN_UP_MS = 15_000

/**
 * A client that hides no failure: `fetch` silently repeats a request if a kept connection turns out to be
 * closed. A connection that the server closed between two requests is not a failure; the client opens another
 * one.
 * @param pick the server for a new connection. An existing connection stays, as with a load balancer of
 *   connections.
 */
export function keepAliveClient(pick: () => string): KeepAliveClient {
  let kept: { wire: Wire; url: string } | null = null
  const open = () => {
    const url = pick()
    return { wire: dial({ url }), url }
  }
  const close = () => {
    kept?.wire.end()
    kept = null
  }
  const send = async (route: string, ask: Ask = {}): Promise<Reply> => {
    const sentAt = performance.now()
    if (!kept?.wire.isOpen()) kept = open()
    const { wire, url } = kept
    wire.send(requestOf(route, ask))
    const { status, head, body, failure } = await wire.answer({ withinMs: GIVEN_UP_MS })
    const headers = headersOf(head)
    if (failure || headers.get('connection') === 'close') close()
    const isJson = headers.get('content-type')?.includes('json') ?? false
    return {
      status,
      headers,
      body: isJson && body !== '' ? JSON.parse(textOf(body)) : null,
      failure,
      url,
      sentAt,
      ms: performance.now() - sentAt,
    }
  }
  return { send, close }
}

function requestOf(route: string, { json, bearer, apiKey }: Ask): string {
  const body = json === undefined ? '' : bytesOf(JSON.stringify(json))
  const lines = [`${route} HTTP/1.1`, 'Host: latchkey.test']
  if (bearer !== undefined) lines.push(`Authorization: Bearer ${bearer}`)
  if (apiKey !== undefined) lines.push(`X-API-Key: ${apiKey}`)
  if (json !== undefined) lines.push('Content-Type: application/json', `Content-Length: ${body.length}`)
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}

function headersOf(head: string): Headers {
  const [, ...lines] = head.split('\r\n')
  return new Headers(lines.map((line) => line.split(/: (.*)/, 2) as [string, string]))
}
