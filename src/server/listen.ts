/**
 * Limits that Bun's server applies before any handler of Latchkey runs. `docs/behind-a-proxy.md` documents
 * them.
 */
export const SERVER_LIMITS = {
  /** In bytes. The server refuses a larger body before it becomes a request. */
  maxRequestBodySize: 9 * 1024 * 1024,
  /**
   * In seconds: the limit of a silent connection, of an answer that is not read, and of a body
   * (docs/decisions/0023). Bytes that arrive slowly do not extend the time of a body; only 16 KiB a second
   * do. The value is longer than the slowest request, which it would also end. Headers always have 10
   * seconds.
   */
  idleTimeout: 30,
}
/** How long requests in flight may take after the server stops accepting new ones. */
const DRAIN_SECONDS = 30

/** The members of an Elysia app that `listen` uses. */
export type App = {
  /** Resolves when the app's plugins are loaded. */
  modules: PromiseLike<unknown>
  listen(options: ListenOptions): unknown
  /** null until the app listens. */
  server: { port?: number | undefined; stop(closesConnections?: boolean): Promise<void> } | null
}

type ListenOptions = typeof SERVER_LIMITS & {
  hostname: string
  port: number
  reusePort: boolean
  development: boolean
}

/** A service that listens. */
export type Listening = {
  /** The URL, with the port that the system chose for PORT=0. */
  address: string
  port: number
  /**
   * Stops accepting requests and waits for those in flight. Returns false if some took too long and were cut
   * off.
   */
  drain(): Promise<boolean>
}

/**
 * Listens at HOST and a port.
 * @param at `setting`: the name of the setting that holds the port, for the message
 * @throws Error with one sentence if the address is not available
 */
export async function listen(
  app: App,
  { host, port, setting }: { host: string; port: number; setting: 'PORT' | 'METRICS_PORT' },
): Promise<Listening> {
  await app.modules
  try {
    app.listen({
      hostname: host,
      port,
      ...SERVER_LIMITS,
      // By default Elysia shares a port with another process that has it open, and answers errors with their
      // stack.
      reusePort: false,
      development: false,
    })
  } catch (error) {
    throw new Error(explain(error, host, port, setting), { cause: error })
  }
  const { server } = app
  if (!server) throw new Error('the server did not start')
  return {
    address: describeAddress(host, server.port ?? port),
    port: server.port ?? port,
    async drain() {
      const late = Bun.sleep(DRAIN_SECONDS * 1000).then(() => false)
      const inTime = await Promise.race([server.stop().then(() => true), late])
      if (!inTime) await server.stop(true)
      return inTime
    },
  }
}

function explain(error: unknown, host: string, port: number, setting: string): string {
  const code = error instanceof Error && 'code' in error ? error.code : null
  if (code === 'EADDRINUSE')
    return `port ${port} of ${host} is in use: end what listens there, or set ${setting}`
  if (code === 'EACCES')
    return `port ${port} needs more rights than this process has: set ${setting} to 1024 or more`
  return `cannot listen at ${describeAddress(host, port)}${code ? ` (${code})` : ''}: HOST must be an address of this machine`
}

/** Writes `http://host:port`, an IPv6 address in brackets. */
export function describeAddress(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}
