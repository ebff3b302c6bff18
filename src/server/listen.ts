import type { AnyElysia } from 'elysia'
import { describeAddress } from './address.ts'

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
/** How long requests in flight may take once nobody new is let in. */
const DRAIN_SECONDS = 30

/** A listening service. */
export type Listening = {
  /** Where, with the port that the system chose for PORT=0. */
  address: string
  /** Lets nobody new in and waits for the requests in flight. false: they took too long and were cut off. */
  drain(): Promise<boolean>
}

/**
 * Listens at HOST and a port.
 * @param at `setting` names the port's, for whoever has to change it
 * @throws Error with one sentence where the address cannot be had
 */
export async function listen(
  app: AnyElysia,
  { host, port, setting }: { host: string; port: number; setting: 'PORT' | 'METRICS_PORT' },
): Promise<Listening> {
  await app.modules
  try {
    app.listen({
      hostname: host,
      port,
      ...SERVER_LIMITS,
      // Elysia would share the port with whoever has it, and show the stack of an error.
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
