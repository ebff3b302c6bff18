import { connect, type Socket } from 'node:net'
import { listenOnTcp } from '../support/tcp.ts'

/** A line to a database that may be bad. What is sent to the database always arrives at once. */
export type Line = {
  url: string
  /** Answers come so many milliseconds late; 0: at once. */
  delay(ms: number): void
  /** Answers are lost, though what was asked for is done. */
  lose(): void
  /** Cuts every connection; the next ones are good. */
  cut(): void
  close(): void
}

/** Stands between the servers and the database at `url`. */
export async function layLine(url: string): Promise<Line> {
  const { port } = new URL(url)
  const sockets = new Set<Socket>()
  let delayMs = 0
  let isLosing = false
  const proxy = await listenOnTcp((socket) => {
    sockets.add(socket)
    const behind = connect(Number(port), '127.0.0.1')
    behind.on('error', () => socket.destroy())
    socket.pipe(behind)
    socket.on('close', () => sockets.delete(socket) && behind.destroy())
    // Of two chunks the later one is never the sooner: they share their delay, or it has grown.
    const later = (work: () => void) => (delayMs === 0 ? work() : setTimeout(work, delayMs))
    behind.on('data', (chunk) => isLosing || later(() => socket.write(chunk)))
    behind.on('close', () => later(() => socket.destroy()))
  })
  return {
    url: url.replace(`:${port}/`, `:${proxy.port}/`),
    delay(ms) {
      delayMs = ms
    },
    lose() {
      isLosing = true
    },
    cut() {
      for (const socket of sockets) socket.destroy()
      isLosing = false
    },
    close: proxy.close,
  }
}
