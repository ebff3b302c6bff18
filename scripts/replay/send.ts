import { connect } from 'node:net'

/** A request with all values filled in. */
export type Request = {
  method: string
  /** The target, exactly as in the request line. */
  target: string
  headers: Record<string, string>
  body: string | null
  /** All lines of the head after the request line, byte for byte. Nothing else is then sent there. */
  lines: readonly string[] | null
}

/** The part of an answer that is read. `status` 0: the connection ended without an answer. */
export type Answer = { status: number; headers: Headers; text: string }

/**
 * Sends each request on a new connection, so that an answer that closes its connection affects no other
 * request.
 */
export async function send(url: string, request: Request): Promise<Answer> {
  if (request.lines) return sendLines(url, request, request.lines)
  const { method, target, headers, body } = request
  const init = { method, headers, body, keepalive: false, redirect: 'manual' } as const
  const response = await fetch(url + target, init)
  return { status: response.status, headers: response.headers, text: await response.text() }
}

const ANSWER_MS = 5_000

/**
 * For requests that no client library sends: a repeated or malformed header, or a target that a URL parser
 * would change.
 */
function sendLines(url: string, request: Request, lines: readonly string[]): Promise<Answer> {
  const { method, target, body } = request
  const head = [`${method} ${target} HTTP/1.1`, 'Connection: close', ...lines].join('\r\n')
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(Number(port), hostname, () => socket.write(`${head}\r\n\r\n${body ?? ''}`))
    socket.setEncoding('utf8')
    socket.setTimeout(ANSWER_MS, () => socket.destroy(new Error(`No answer to ${method} ${target}`)))
    socket.on('data', (chunk) => {
      text += chunk
    })
    // The server may cut the connection of a refused request. The answer received until then counts.
    socket.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNRESET' || error.code === 'EPIPE' ? resolve(read(text)) : reject(error),
    )
    socket.on('close', () => resolve(read(text)))
  })
}

function read(answer: string): Answer {
  const [head = '', ...rest] = answer.split('\r\n\r\n')
  const [statusLine = '', ...lines] = head.split('\r\n')
  const headers = new Headers(lines.map((line) => splitOnce(line, ':')))
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine)?.[1] ?? 0)
  return { status, headers, text: rest.join('\r\n\r\n') }
}

function splitOnce(line: string, separator: string): [string, string] {
  const at = line.indexOf(separator)
  return [line.slice(0, at), line.slice(at + 1).trim()]
}
