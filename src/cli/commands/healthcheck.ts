import { request } from 'node:http'
import { describeAddress } from '../../server/listen.ts'
import { defineCommand } from '../command.ts'

const TIMEOUT_MS = 2_000

/** `latchkey healthcheck`. */
export const commands = {
  healthcheck: defineCommand({
    kind: 'local',
    details:
      'Requests /livez at HOST and PORT, and waits two seconds at most. Exit code 0: the server works, 1: it does not.',
    async run({ config }) {
      const url = `${describeAddress(reachable(config.host), config.port)}/livez`
      const status = await get(url)
      if (status !== 200) throw new Error(`${url}: status ${status}`)
      return { status: 'alive', url }
    },
    show: ({ url }) => `${url}: alive`,
  }),
}

/**
 * The address to connect to. A wildcard address in HOST cannot be connected to; the loopback address reaches
 * the same server.
 */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  return host === '::' ? '::1' : host
}

/** Uses node:http, because `fetch` would send even a local request through HTTP_PROXY. */
function get(url: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => {
      const reason =
        error.name === 'AbortError' || error.name === 'TimeoutError' ? 'no answer in 2 s' : 'no connection'
      reject(new Error(`${url}: ${reason}`, { cause: error }))
    }
    request(url, { signal: AbortSignal.timeout(TIMEOUT_MS), agent: false }, (answer) => {
      answer.resume()
      resolve(answer.statusCode)
    })
      .on('error', fail)
      .end()
  })
}
