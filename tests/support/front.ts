import { type Options, startService, type TestService } from './service.ts'

/** A service behind a front, and the address at which browsers reach it. */
export type Front = { url: string; behind: TestService; stop(): Promise<void> }

/**
 * A server in front of Latchkey, which takes the path away, as a proxy does that has a location for it.
 * @param hostname by which browsers reach it: over plain http they have passkeys at `localhost` alone
 */
export async function startFront(hostname: string, path: string, options: Options = {}): Promise<Front> {
  let target = ''
  const front = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch(request) {
      const { pathname, search } = new URL(request.url)
      if (!pathname.startsWith(`${path}/`)) return new Response('Another program', { status: 404 })
      const { method, headers, body } = request
      const url = `${target}${pathname.slice(path.length)}${search}`
      return fetch(url, { method, headers, body, redirect: 'manual', decompress: false })
    },
  })
  const url = `http://${hostname}:${front.port}${path}`
  const behind = await startService({ publicUrl: url, ...options })
  target = behind.url
  const stop = async () => {
    await front.stop(true)
    await behind.stop()
  }
  return { url, behind, stop }
}
