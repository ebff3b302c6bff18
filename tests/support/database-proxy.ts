import { connect, type Socket } from 'node:net'
import { listenOnTcp } from './tcp.ts'

/** A proxy in front of PostgreSQL that can hold answers back. Queries are passed on at once. */
export type DatabaseProxy = {
  /** The database URL through this proxy. */
  url(databaseUrl: string): string
  /**
   * Holds back the answers of the next connections that receive one, as many as `connections` says. Other
   * connections continue.
   */
  hold(connections: number): void
  /** The number of connections whose answers are held back. */
  held(): number
  /** Sends everything that was held back, in order. */
  release(): void
  /** Delays answers from now on by this time. */
  delay(ms: number): void
  /** Discards answers from now on. The database still does what it is asked. */
  lose(): void
  /** Cuts every connection. New connections work. */
  cut(): void
  /**
   * From now on no byte passes in either direction and no connection closes, as with a cut cable. This
   * applies to old and new connections.
   */
  freeze(): void
  thaw(): void
  close(): void
}

/** Starts a proxy in front of the server at a port of 127.0.0.1. */
export async function startDatabaseProxy(port: number): Promise<DatabaseProxy> {
  const kept = new Map<Socket, Buffer[]>()
  let mayHold = 0
  let delayMs = 0
  let isFrozen = false
  let isLosing = false
  const clients = new Set<Socket>()
  const frozen: (() => void)[] = []

  const answer = (client: Socket, chunk: Buffer) => {
    const waiting = kept.get(client)
    if (waiting) waiting.push(chunk)
    else if (mayHold > kept.size) kept.set(client, [chunk])
    else client.write(chunk)
  }
  const unlessFrozen = (work: () => void) => {
    if (isFrozen) frozen.push(work)
    else work()
  }
  const server = await listenOnTcp((client) => {
    const late: { chunk: Buffer; dueAt: number }[] = []
    /** Keeps the order of answers when the delay changes in between. */
    const answerLate = (chunk: Buffer) => {
      const dueAt = Math.max(performance.now() + delayMs, late.at(-1)?.dueAt ?? 0)
      late.push({ chunk, dueAt })
      setTimeout(() => {
        const first = late.shift()
        if (first) answer(client, first.chunk)
      }, dueAt - performance.now())
    }
    clients.add(client)
    const behind = connect(port, '127.0.0.1')
    client.setNoDelay(true)
    behind.setNoDelay(true)
    behind.on('error', () => client.destroy())
    client.on('data', (chunk) => unlessFrozen(() => behind.write(chunk)))
    behind.on('data', (chunk: Buffer) =>
      unlessFrozen(() => {
        if (isLosing) return
        if (delayMs === 0 && late.length === 0) answer(client, chunk)
        else answerLate(chunk)
      }),
    )
    client.on('close', () => {
      clients.delete(client)
      kept.delete(client)
      behind.destroy()
    })
    behind.on('close', () => unlessFrozen(() => client.destroy()))
  })
  return {
    url: (databaseUrl) => databaseUrl.replace(/@127\.0\.0\.1:\d+\//, `@127.0.0.1:${server.port}/`),
    hold(connections) {
      mayHold = connections
    },
    held: () => kept.size,
    release() {
      mayHold = 0
      for (const [client, chunks] of kept) for (const chunk of chunks) client.write(chunk)
      kept.clear()
    },
    delay(ms) {
      delayMs = ms
    },
    lose() {
      isLosing = true
    },
    cut() {
      for (const client of clients) client.destroy()
      isLosing = false
    },
    freeze() {
      isFrozen = true
    },
    thaw() {
      isFrozen = false
      for (const work of frozen.splice(0)) work()
    },
    close: server.close,
  }
}
