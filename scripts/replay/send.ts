import { connect } from 'node:net'

/** A request with every value filled in. */
export type Request = {
  method: string
  /** As it stands in the request line. */
  target: string
  headers: Record<string, string>
  body: string | null
  /** The lines of the head after the request line, byte for byte: then nothing else is sent there. */
  lines: readonly string[] | null
}

/** What is read of an answer; `status` 0: the connection ended without one. */
export type Answer = { status: number; headers: Headers; text: string }

/** Over a connection of its own each, so that none is spoilt by an answer that closes it. */
export async function send(url: string, request: Request): Promise<Answer> {
  if (request.lines) return sendLines(url, request, request.lines)
  const { method, target, headers, body } = request
  const init = { method, headers, body, keepalive: false, redirect: 'manual' } as const
  const response = await fetch(url + target, init)
  return { status: response.status, headers: response.headers, text: await response.text() }
}

const ANSWER_MS = 5_000

/** For what no client library would send: a header twice or malformed, a target that a URL parser would tidy up. */
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
    // A refused request is cut off; what was answered until then counts.
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
