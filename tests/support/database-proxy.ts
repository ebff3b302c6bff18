import { connect, type Socket } from 'node:net'
import { listenOnTcp } from './tcp.ts'

/** A way to PostgreSQL on which answers can be kept back. What is asked goes on at once. */
export type DatabaseProxy = {
  /** The same URL by this way. */
  url(databaseUrl: string): string
  /** Keeps back what comes from now on over the next `lines` connections that get an answer; the others go on. */
  hold(connections: number): void
  /** How many connections wait for what is kept back. */
  held(): number
  /** Lets everything go, in its order. */
  release(): void
  /** Answers take so long from now on. */
  delay(ms: number): void
  /** Answers are lost from now on, though what was asked for is done. */
  lose(): void
  /** Cuts every connection; the next ones are good. */
  cut(): void
  /** From now on nothing goes either way and nothing is closed, on connections old and new, as behind a cut cable. */
  freeze(): void
  thaw(): void
  close(): void
}

/** Starts one before the server at a port of 127.0.0.1. */
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
    /** In its order, whatever the delay has become meanwhile. */
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
