import { dial } from './http-socket.ts'
import type { TestService } from './service.ts'
import { until } from './until.ts'

/** A request that is half sent and then held. */
export type HalfSent = { line: string; bearer: string; json: unknown }

/**
 * Sends the headers of requests and the first byte of each body, and waits until the server has recognised
 * the callers.
 * @returns a function that sends the rest of each, and resolves to the statuses of the answers
 */
export async function sendHalves(
  at: TestService,
  requests: readonly HalfSent[],
): Promise<(() => Promise<number>)[]> {
  const known = () => at.context.metrics.verifications.VALID
  const before = known()
  const rests = requests.map(({ line, bearer, json }) => {
    const body = JSON.stringify(json)
    const head = [
      `${line} HTTP/1.1`,
      'Host: latchkey.test',
      `Authorization: Bearer ${bearer}`,
      'Content-Type: application/json',
      `Content-Length: ${Buffer.byteLength(body)}`,
    ]
    const wire = dial(at)
    wire.send(`${head.join('\r\n')}\r\n\r\n${body.slice(0, 1)}`)
    return async () => {
      wire.send(body.slice(1))
      const { status } = await wire.answer()
      wire.end()
      return status
    }
  })
  await until(() => known() >= before + requests.length, 'the requests have been let in')
  return rests
}
