/** What Bun's server bounds before anything of ours runs; `docs/behind-a-proxy.md` has the figures that follow. */
export const SERVER_LIMITS = {
  /** The outer wall, in bytes: the server refuses what is larger before it is a request. */
  maxRequestBodySize: 9 * 1024 * 1024,
  /**
   * Seconds that a connection may be silent, an answer may wait to be read, and a body may take: bytes that drip in win no
   * more time, only 16 KiB a second do. Longer than the slowest request, which this would cut off as well. Headers have
   * 10 seconds, whatever stands here.
   */
  idleTimeout: 30,
}
/** How long requests in flight may take once no new ones are taken. */
const DRAIN_SECONDS = 30

/** What is needed of an Elysia app to listen with it. */
export type App = {
  /** Resolves when its plugins are loaded. */
  modules: PromiseLike<unknown>
  listen(options: ListenOptions): unknown
  /** null until it listens. */
  server: { port?: number | undefined; stop(closesConnections?: boolean): Promise<void> } | null
}

type ListenOptions = typeof SERVER_LIMITS & {
  hostname: string
  port: number
  reusePort: boolean
  development: boolean
}

/** A listening service. */
export type Listening = {
  /** Where, with the port that the system chose for PORT=0. */
  address: string
  port: number
  /** Takes no new requests and waits for those in flight. false: they took too long and were cut off. */
  drain(): Promise<boolean>
}

/**
 * Listens at HOST and a port.
 * @param at `setting` is the name of the setting that holds the port, for the message
 * @throws Error with one sentence where the address cannot be had
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
      // By default Elysia shares the port with another process that has it, and shows the stack of an error.
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

/** `http://host:port`, an IPv6 address in brackets. */
export function describeAddress(host: string, port: number): string {
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}
