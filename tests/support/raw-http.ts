import { connect } from 'node:net'
import type { TestService } from './service.ts'

/** An answer as it came over the wire; `status` 0 where the connection ended without one. */
export type RawAnswer = { status: number; head: string; body: string }

/** Sends a request byte for byte, for what no client library would send: a header twice, half of one, none. */
export function sendRaw(
  service: Pick<TestService, 'url'>,
  startLine: string,
  headers: readonly string[],
  body = '',
): Promise<RawAnswer> {
  const { hostname, port } = new URL(service.url)
  const host = headers.some((header) => /^host:/i.test(header)) ? [] : ['Host: latchkey.test']
  const lines = [`${startLine} HTTP/1.1`, ...host, 'Connection: close', ...headers]
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(Number(port), hostname, () => socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`))
    socket.setEncoding('utf8')
    socket.setTimeout(5000, () => socket.destroy(new Error(`No answer to ${startLine}`)))
    socket.on('data', (chunk) => {
      text += chunk
    })
    // A refused request is cut off; what was answered until then counts.
    socket.on('error', (error) => (text === '' && !isCut(error) ? reject(error) : resolve(read(text))))
    socket.on('close', () => resolve(read(text)))
  })
}

const isCut = (error: Error) => 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE')

function read(text: string): RawAnswer {
  const end = text.indexOf('\r\n\r\n')
  const head = end === -1 ? text : text.slice(0, end)
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0),
    head,
    body: end === -1 ? '' : text.slice(end + 4),
  }
}
