import { connect } from 'node:net'

/** Why there was no answer. `refused`: nobody listens; `cut`: the connection ended before; `late`: not in time. */
export type Failure = 'refused' | 'cut' | 'late'

/** An answer as it came over the wire, a character for each byte of it; `status` 0 where there was none. */
export type WireAnswer = { status: number; head: string; body: string; failure: Failure | null }

/** A connection on which a test says exactly what it wants, byte for byte. */
export type Wire = {
  /** Latin-1: a byte a character. */
  send(text: string): void
  /**
   * Waits for the next answer, whose length its headers state; with `untilClosed` for all that comes until the other
   * side closes, as where a status has no body whatever its headers say.
   */
  answer(options?: { untilClosed?: boolean; withinMs?: number }): Promise<WireAnswer>
  /** Resolves once the other side has closed, with how long that took from the opening. */
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
  // What is refused is cut off, and what was answered until then counts.
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

/** The first whole answer of a text, and what follows it. */
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
 * Sends one request byte for byte, on a connection of its own, for what no client library would send: a header twice,
 * half of one, none.
 * @throws Error where nobody listens, or there is no answer in five seconds
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

/** UTF-8 as a character for each byte, and back. */
const bytesOf = (text: string) => Buffer.from(text).toString('latin1')
const textOf = (bytes: string) => Buffer.from(bytes, 'latin1').toString()

/** What became of a request: an answer, read whole, or `status` 0 and why there was none. */
export type Reply = {
  status: number
  headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what it then asserts
  body: any
  failure: Failure | null
  /** The server that was asked. */
  url: string
  /** On the clock of `performance.now()`. */
  sentAt: number
  ms: number
}

export type Ask = { json?: unknown; bearer?: string; apiKey?: string }

/** One client with at most one connection, kept alive between its requests. */
export type KeepAliveClient = {
  send(route: string, ask?: Ask): Promise<Reply>
  /** Ends the connection; the next request makes another. */
  close(): void
}

const GIVEN_UP_MS = 15_000

/**
 * A client that hides nothing: `fetch` sends a request again where a kept connection turns out to be closed. One that
 * the server closed between two requests is no fault, and makes place for a new one.
 * @param pick where a new connection goes to; an existing one stays, as through a balancer of connections
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
