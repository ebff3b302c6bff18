import { describe, expect, test } from 'bun:test'
import { type Answer, call } from '../support/client.ts'
import { sendRaw } from '../support/http-socket.ts'
import { until } from '../support/until.ts'
import { useService } from '../support/use-service.ts'

const service = useService({ corsOrigins: ['https://app.example.com'] })

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT_ID = '00f067aa0ba902b7'
const traced = (route: string, traceparent: string) => call(service, route, { headers: { traceparent } })

/** The log entries of the request that has this answer. */
async function linesOf(answer: Answer): Promise<Record<string, unknown>[]> {
  const id = answer.headers.get('x-request-id')
  const lines = () => service.logged().filter(({ request_id }) => request_id === id)
  await until(() => lines().some(({ message }) => message === 'request'), 'the access line is written')
  return lines()
}

describe('a trace of the caller', () => {
  test.each(['00', '01', '03', 'ff'])(
    'with flags %s is in the log entry and in the answer',
    async (flags) => {
      const answer = await traced('GET /health', `00-${TRACE_ID}-${PARENT_ID}-${flags}`)
      const [, spanId] = /^00-4bf92f3577b34da6a3ce929d0e0e4736-([0-9a-f]{16})-/.exec(
        answer.headers.get('traceresponse') ?? '',
      ) ?? [null, 'no traceresponse']
      expect(answer.headers.get('traceresponse')).toEndWith(`-${flags}`)
      expect(spanId).not.toBe(PARENT_ID)
      expect(await linesOf(answer)).toMatchObject([{ trace_id: TRACE_ID, span_id: spanId }])
    },
  )

  test('has a span id of its own for each request', async () => {
    const both = await Promise.all([1, 2].map(() => traced('GET /health', `00-${TRACE_ID}-${PARENT_ID}-01`)))
    const [first, second] = both.map((answer) => answer.headers.get('traceresponse'))
    expect(first).not.toBe(second)
  })

  test('is in the log entry of an error too', async () => {
    const verify = service.context.passwords.verify
    service.context.passwords.verify = () => Promise.reject(new Error('the private reason'))
    const answer = await call(service, 'POST /auth/login', {
      json: { email: 'somebody@example.com', password: 'some-password' },
      headers: { traceparent: `00-${TRACE_ID}-${PARENT_ID}-01` },
    })
    service.context.passwords.verify = verify
    expect(answer.status).toBe(500)
    const lines = await linesOf(answer)
    expect(lines.map(({ message }) => message)).toEqual(['A request failed', 'request'])
    for (const line of lines) expect(line.trace_id).toBe(TRACE_ID)
    expect(lines[0]?.span_id).toBe(lines[1]?.span_id)
    expect(answer.headers.get('traceresponse')).toContain(TRACE_ID)
  })

  test('may come from a browser', async () => {
    const answer = await call(service, 'OPTIONS /auth/login', {
      headers: {
        origin: 'https://app.example.com',
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'traceparent,tracestate',
      },
    })
    const allowed = answer.headers.get('access-control-allow-headers')?.toLowerCase()
    expect(allowed).toContain('traceparent')
    expect(allowed).toContain('tracestate')
  })
})

describe('an invalid traceparent is ignored', () => {
  const VALID = `00-${TRACE_ID}-${PARENT_ID}-01`

  test.each([
    ['nothing', ''],
    ['another version', `01-${TRACE_ID}-${PARENT_ID}-01`],
    ['the forbidden version', `ff-${TRACE_ID}-${PARENT_ID}-01`],
    ['a trace id of zeros', `00-${'0'.repeat(32)}-${PARENT_ID}-01`],
    ['a parent id of zeros', `00-${TRACE_ID}-${'0'.repeat(16)}-01`],
    ['capitals', VALID.toUpperCase()],
    ['a short trace id', `00-${TRACE_ID.slice(1)}-${PARENT_ID}-01`],
    ['a long parent id', `00-${TRACE_ID}-${PARENT_ID}0-01`],
    ['no flags', `00-${TRACE_ID}-${PARENT_ID}`],
    ['more after it', `${VALID}-more`],
    ['letters that are no digits', `00-${'g'.repeat(32)}-${PARENT_ID}-01`],
    ['two of them', `${VALID}, ${VALID}`],
    ['a very long one', `00-${'a'.repeat(8_000)}`],
    ['members of a log line', `00-${TRACE_ID}","level":"fatal","x":"-01`],
  ])('%s', async (_, traceparent) => {
    const answer = await traced('GET /health', traceparent)
    expect(answer.status).toBe(200)
    expect(answer.headers.has('traceresponse')).toBe(false)
    const [line] = await linesOf(answer)
    expect(line).not.toHaveProperty('trace_id')
    expect(line).not.toHaveProperty('span_id')
    expect(line?.level).toBe('info')
  })

  test('the header twice, or with a line break inside', async () => {
    for (const headers of [
      [`traceparent: ${VALID}`, `traceparent: ${VALID}`],
      [`traceparent: ${VALID}\n{"message":"request","forged":true}`],
      [`traceparent: ${VALID}\r\n traceparent: folded`],
    ]) {
      const answer = await sendRaw(service, 'GET /health', headers)
      expect(answer.status).toBeLessThan(500)
      expect(answer.head.toLowerCase()).not.toContain('traceresponse')
    }
    expect(service.loggedText()).not.toContain('forged')
  })
})
