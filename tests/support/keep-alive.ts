import { connect, type Socket } from 'node:net'

/** What became of a request: an answer, read whole, or `status` 0 and why there was none. */
export type Reply = {
  status: number
  headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what it then asserts
  body: any
  /** `refused`: nobody listens; `cut`: the connection ended before the answer did; `late`: no answer in time. */
  failure: 'refused' | 'cut' | 'late' | null
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

const LATE_MS = 15_000

/**
 * A client that hides nothing: `fetch` sends a request again where a kept connection turns out to be closed. One that
 * the server closed between two requests is no fault, and makes place for a new one.
 * @param pick where a new connection goes to; an existing one stays, as through a balancer of connections
 */
export function keepAliveClient(pick: () => string): KeepAliveClient {
  let line: { socket: Socket; url: string } | null = null
  const forget = (socket: Socket) => {
    if (line?.socket === socket) line = null
  }

  const open = () => {
    const url = pick()
    const { hostname, port } = new URL(url)
    const socket = connect(Number(port), hostname)
    socket.setNoDelay(true)
    socket.on('end', () => forget(socket)).on('error', () => {})
    socket.on('close', () => forget(socket))
    return { socket, url }
  }

  const send = (route: string, ask: Ask = {}) =>
    new Promise<Reply>((resolve) => {
      const sentAt = performance.now()
      line ??= open()
      const { socket, url } = line
      let received = Buffer.alloc(0)
      const settle = (answer: Pick<Reply, 'status' | 'headers' | 'body' | 'failure'>) => {
        clearTimeout(timer)
        socket.off('data', read).off('close', cut).off('end', cut).off('error', fail)
        if (answer.failure || answer.headers.get('connection') === 'close') {
          forget(socket)
          socket.destroy()
        }
        resolve({ ...answer, url, sentAt, ms: performance.now() - sentAt })
      }
      const without = (failure: Reply['failure']) =>
        settle({ status: 0, headers: new Headers(), body: null, failure })
      const cut = () => without('cut')
      const fail = (error: Error) =>
        without('code' in error && error.code === 'ECONNREFUSED' ? 'refused' : 'cut')
      const read = (chunk: Buffer) => {
        received = Buffer.concat([received, chunk])
        const answer = parse(received)
        if (answer) settle({ ...answer, failure: null })
      }
      const timer = setTimeout(() => without('late'), LATE_MS)
      socket.on('data', read).on('close', cut).on('end', cut).on('error', fail)
      socket.write(textOf(route, ask))
    })

  const close = () => {
    line?.socket.destroy()
    line = null
  }
  return { send, close }
}

function textOf(route: string, { json, bearer, apiKey }: Ask): string {
  const body = json === undefined ? '' : JSON.stringify(json)
  const lines = [`${route} HTTP/1.1`, 'Host: latchkey.test']
  if (bearer !== undefined) lines.push(`Authorization: Bearer ${bearer}`)
  if (apiKey !== undefined) lines.push(`X-API-Key: ${apiKey}`)
  if (json !== undefined)
    lines.push('Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`)
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}

/** The answer once it is there whole. Latchkey states the length of each. */
function parse(received: Buffer): Pick<Reply, 'status' | 'headers' | 'body'> | null {
  const end = received.indexOf('\r\n\r\n')
  if (end === -1) return null
  const [start = '', ...lines] = received.subarray(0, end).toString('latin1').split('\r\n')
  const headers = new Headers(lines.map((line) => line.split(/: (.*)/, 2) as [string, string]))
  const from = end + 4
  const length = Number(headers.get('content-length') ?? 0)
  if (received.length < from + length) return null
  const text = received.subarray(from, from + length).toString()
  const isJson = headers.get('content-type')?.includes('json') ?? false
  return {
    status: Number(start.slice(9, 12)),
    headers,
    body: isJson && text !== '' ? JSON.parse(text) : null,
  }
}
