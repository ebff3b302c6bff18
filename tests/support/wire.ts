import { connect } from 'node:net'
import type { TestService } from './service.ts'

/** An answer of several that a connection may carry. */
export type WireAnswer = { status: number; head: string; body: string }

/** A connection on which a test says exactly what it wants, byte for byte. */
export type Wire = {
  /** Latin-1: a byte a character. */
  send(text: string): void
  /** Waits for the next answer; its status is 0 where the connection ends without one. */
  answer(): Promise<WireAnswer>
  /** Resolves once the other side has closed, with how long that took from the opening. */
  closed: Promise<{ seconds: number }>
  isOpen(): boolean
  end(): void
}

/** Opens a connection to a service. */
export function dial({ url }: Pick<TestService, 'url'>): Wire {
  const { hostname, port } = new URL(url)
  const openedAt = performance.now()
  const socket = connect(Number(port), hostname)
  let text = ''
  let isOpen = true
  let changed = Promise.withResolvers<void>()
  const wake = () => {
    changed.resolve()
    changed = Promise.withResolvers()
  }
  const closed = new Promise<{ seconds: number }>((resolve) => {
    socket.once('close', () => {
      isOpen = false
      wake()
      resolve({ seconds: (performance.now() - openedAt) / 1000 })
    })
  })
  // What is refused is cut off, and what was answered until then counts.
  socket.on('error', () => {})
  socket.setEncoding('latin1')
  socket.on('data', (chunk) => {
    text += chunk
    wake()
  })
  return {
    send: (bytes) => {
      socket.write(bytes, 'latin1')
    },
    async answer() {
      for (;;) {
        const [found, rest] = takeAnswer(text)
        if (found) {
          text = rest
          return found
        }
        if (!isOpen) return { status: 0, head: '', body: '' }
        await changed.promise
      }
    },
    closed,
    isOpen: () => isOpen,
    end: () => socket.destroy(),
  }
}

/** The first whole answer of a text, and what follows it. */
function takeAnswer(text: string): [WireAnswer | null, string] {
  const end = text.indexOf('\r\n\r\n')
  if (end === -1) return [null, text]
  const head = text.slice(0, end)
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1])
  const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1] ?? 0)
  const bodyStart = end + 4
  if (text.length < bodyStart + length) return [null, text]
  return [{ status, head, body: text.slice(bodyStart, bodyStart + length) }, text.slice(bodyStart + length)]
}
