import { describe, expect, test } from 'bun:test'
import { call, newPerson } from '../support/client.ts'
import { dial, type Wire } from '../support/http-socket.ts'
import { prepare, useService } from '../support/use-service.ts'

const KIB = 1024
const MIB = 1024 * KIB

// Bun checks every four seconds which connections have timed out, and may close one up to four seconds early.
const service = useService({ idleTimeout: 8 })
const person = prepare(() => newPerson(service))

/** Prints a figure for the reader of the output. Nothing is asserted of it. */
const tell = (text: string) => process.stderr.write(`${text}\n`)

const rssMib = () => process.memoryUsage.rss() / MIB

const HOST = 'Host: latchkey.test\r\n'
const JSON_TYPE = 'Content-Type: application/json\r\n'
const login = () => JSON.stringify({ email: person.email, password: person.password })
const headOf = (route: string, headers = '') => {
  const [method, path] = route.split(' ')
  return `${method} ${path} HTTP/1.1\r\n${HOST}${headers}\r\n`
}

async function expectsStep(wire: Wire): Promise<void> {
  wire.send(headOf('GET /livez'))
  expect(JSON.parse((await wire.answer()).body)).toEqual({ status: 'alive' })
}

describe('headers', () => {
  test.each<[string, string]>([
    ['one of 20 KB', headOf('GET /health', `X-Long: ${'a'.repeat(20_000)}\r\n`)],
    ['one of 100 KB', headOf('GET /health', `X-Long: ${'a'.repeat(100_000)}\r\n`)],
    ['one of 1 MB', headOf('GET /health', `X-Long: ${'a'.repeat(1_000_000)}\r\n`)],
    ['one that does not end', headOf('GET /health', `X-Long: ${'a'.repeat(40_000)}`).trimEnd()],
    ['a name of 20 KB', headOf('GET /health', `${'a'.repeat(20_000)}: x\r\n`)],
    ['a thousand', headOf('GET /health', 'X-Many: a\r\n'.repeat(1000))],
    ['a target of 20 KB', headOf(`GET /health?${'a'.repeat(20_000)}`)],
    ['a target of 100 KB', headOf(`GET /${'a'.repeat(100_000)}`)],
    ['a credential of 20 KB', headOf('GET /auth/me', `Authorization: Bearer ${'a'.repeat(20_000)}\r\n`)],
  ])('%s: 431 without a body, and the connection is closed', async (_, bytes) => {
    const wire = dial(service)
    wire.send(bytes)
    const { status, body } = await wire.answer()
    // The client may lose the answer, if the server closes the connection while bytes are still on their way.
    expect([431, ...(bytes.length > 64 * KIB ? [0] : [])]).toContain(status)
    expect(body).toBe('')
    await wire.closed
  })

  test.each<[string, string, number]>([
    ['14 KB', headOf('GET /health', `X-Long: ${'a'.repeat(14_000)}\r\n`), 200],
    ['a hundred and fifty', headOf('GET /health', 'X-Many: a\r\n'.repeat(150)), 200],
    ['a target of 14 KB', headOf(`GET /health?${'a'.repeat(14_000)}`), 200],
    ['a credential of 14 KB', headOf('GET /auth/me', `Authorization: Bearer ${'a'.repeat(14_000)}\r\n`), 401],
    ['a path of 14 KB', headOf(`DELETE /keys/revoke/${'a'.repeat(14_000)}`), 401],
  ])('the control: %s are read', async (_, bytes, expected) => {
    const wire = dial(service)
    wire.send(bytes)
    expect((await wire.answer()).status).toBe(expected)
    await expectsStep(wire)
    wire.end()
  })
})

describe('a body that is too large, refused', () => {
  const tooLarge = 64 * KIB + 1
  const chunk = (length: number) => `${length.toString(16)}\r\n${'a'.repeat(length)}\r\n`
  const credential = () => `Authorization: Bearer ${person.access}\r\n`

  test.each<[string, () => string, number]>([
    [
      'by its length, before a byte of it',
      () => headOf('POST /auth/login', `${JSON_TYPE}Content-Length: ${tooLarge}\r\n`),
      413,
    ],
    [
      'by its length, with a credential',
      () => headOf('POST /keys/create', `${credential()}${JSON_TYPE}Content-Length: ${tooLarge}\r\n`),
      413,
    ],
    [
      'by its length, without a credential',
      () => headOf('POST /keys/create', `${JSON_TYPE}Content-Length: ${tooLarge}\r\n`),
      401,
    ],
    [
      'in chunks, before its end',
      () => headOf('POST /auth/login', `${JSON_TYPE}Transfer-Encoding: chunked\r\n`) + chunk(tooLarge),
      413,
    ],
    [
      'in chunks, without a credential, before its first',
      () => headOf('POST /keys/create', `${JSON_TYPE}Transfer-Encoding: chunked\r\n`),
      401,
    ],
    [
      'a form in chunks',
      () =>
        headOf(
          'POST /oauth/token',
          'Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n',
        ) + chunk(tooLarge),
      413,
    ],
  ])('%s: the answer does not wait for the body', async (_, bytes, expected) => {
    const wire = dial(service)
    wire.send(bytes())
    expect((await wire.answer()).status).toBe(expected)
    wire.end()
  })

  test.each<[string, string]>([
    ['by its length', headOf('POST /auth/login', `${JSON_TYPE}Content-Length: ${9 * MIB + 1}\r\n`)],
    ['by its length, at no path', headOf('POST /nowhere', `Content-Length: ${9 * MIB + 1}\r\n`)],
    ['by its length, where no body is read', headOf('DELETE /keys/self', `Content-Length: ${99 * MIB}\r\n`)],
  ])('on every route, %s: 413 without a body, and the connection is closed', async (_, bytes) => {
    const wire = dial(service)
    wire.send(bytes)
    const { status, body } = await wire.answer()
    expect([status, body]).toEqual([413, ''])
    await wire.closed
  })

  test('the control: a body within the limit is read, also in chunks', async () => {
    for (const bytes of [
      headOf('POST /auth/login', `${JSON_TYPE}Content-Length: ${login().length}\r\n`) + login(),
      `${headOf('POST /auth/login', `${JSON_TYPE}Transfer-Encoding: chunked\r\n`)}${login().length.toString(16)}\r\n${login()}\r\n0\r\n\r\n`,
    ]) {
      const wire = dial(service)
      wire.send(bytes)
      expect((await wire.answer()).status).toBe(200)
      await expectsStep(wire)
      wire.end()
    }
  })
})

describe('Expect: 100-continue', () => {
  const expecting = (route: string, headers: string) =>
    headOf(route, `${headers}${JSON_TYPE}Expect: 100-continue\r\n`)

  test('is answered by 100, and after the body by the usual answer', async () => {
    const wire = dial(service)
    wire.send(expecting('POST /auth/login', `Content-Length: ${login().length}\r\n`))
    expect((await wire.answer()).status).toBe(100)
    wire.send(login())
    expect((await wire.answer()).status).toBe(200)
    wire.end()
  })

  test.each<[string, number, string]>([
    ['without a credential', 401, 'Content-Length: 20\r\n'],
    [
      'with a body that is too large',
      413,
      `Authorization: Bearer ACCESS\r\nContent-Length: ${64 * KIB + 1}\r\n`,
    ],
  ])('%s: the refusal does not wait for the body', async (_, status, headers) => {
    const wire = dial(service)
    wire.send(expecting('POST /keys/create', headers.replace('ACCESS', person.access)))
    // Bun answers 100 to every such request.
    expect([(await wire.answer()).status, (await wire.answer()).status]).toEqual([100, status])
    wire.end()
  })
})

describe('a compressed body is not unpacked', () => {
  const bomb = Bun.gzipSync(`{"email":"${'a'.repeat(10 * MIB)}"}`)
  const small = () => Bun.gzipSync(login())

  test.each<[string, () => Uint8Array<ArrayBuffer>, string]>([
    ['ten megabytes in a few', () => bomb, 'gzip'],
    ['a valid log-in', small, 'gzip'],
    ['by another name', small, 'x-gzip'],
    ['twice', () => Bun.gzipSync(small()), 'gzip, gzip'],
    ['that is not compressed at all', () => new TextEncoder().encode(login()), 'br'],
  ])('%s: 415', async (_, raw, coding) => {
    const headers = { 'content-type': 'application/json', 'content-encoding': coding }
    const answer = await call(service, 'POST /auth/login', { raw: raw(), headers })
    expect([answer.status, answer.body.code]).toEqual([415, 'unsupported_media_type'])
  })

  test('nor is a compressed form', async () => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded', 'content-encoding': 'gzip' }
    const raw = Bun.gzipSync('grant_type=password')
    const answer = await call(service, 'POST /oauth/token', { raw, headers })
    expect([answer.status, answer.body.error]).toEqual([415, 'invalid_request'])
  })
})

/** Sends `bytes` again and again until the server closes the connection. */
async function drip(wire: Wire, bytes: string, everyMs: number): Promise<{ seconds: number }> {
  const timer = setInterval(() => wire.send(bytes), everyMs)
  return wire.closed.finally(() => clearInterval(timer))
}

describe('unread bodies stay out of memory', () => {
  const CONNECTIONS = 40

  test('eight megabytes each, refused by their headers', async () => {
    Bun.gc(true)
    const before = rssMib()
    const wires = Array.from({ length: CONNECTIONS }, () => dial(service))
    for (const wire of wires)
      wire.send(headOf('POST /keys/create', `${JSON_TYPE}Content-Length: ${8 * MIB}\r\n`))
    for (const wire of wires) expect((await wire.answer()).status).toBe(401)
    const part = 'a'.repeat(MIB)
    for (let sent = 0; sent < 4; sent++) {
      for (const wire of wires) wire.send(part)
      expect((await call(service, 'GET /health')).status).toBe(200)
    }
    const grown = rssMib() - before
    for (const wire of wires) wire.end()
    tell(`${CONNECTIONS} unread bodies of 4 MiB: ${grown.toFixed(0)} MiB more, those of the sender included`)
    expect(grown).toBeLessThan(CONNECTIONS * 2)
  })
})

// At once, because each waits for Bun to close connections.
describe.concurrent('a slow or silent client', () => {
  /** Twice the timeout, for a busy machine. */
  const BOUND_SECONDS = 24

  test(
    'is disconnected: a byte now and then gains no time, neither in the headers nor in the body',
    async () => {
      const opened = (first: string) => {
        const wire = dial(service)
        wire.send(first)
        return wire
      }
      const body = (headers: string) => headOf('POST /auth/login', `${JSON_TYPE}${headers}`)
      const patient = opened(body(`Content-Length: ${login().length}\r\n`))
      const slow = {
        'says nothing': dial(service).closed,
        'stops in its headers': opened('GET /health HTTP/1.1\r\nHost: a').closed,
        'drips its headers': drip(opened('GET /health HTTP/1.1\r\nHost: a'), 'a', 200),
        'drips its target': drip(opened('GET /'), 'a', 200),
        'drips its headers in pieces': drip(opened(`GET /health HTTP/1.1\r\n${HOST}`), 'X-Many: a\r\n', 200),
        'sends no body': opened(body('Content-Length: 100\r\n')).closed,
        'drips its body': drip(opened(body('Content-Length: 60000\r\n')), 'a', 200),
        'drips its body in chunks': drip(opened(body('Transfer-Encoding: chunked\r\n')), '1\r\na\r\n', 200),
        'drips an unread body': drip(
          opened(headOf('POST /keys/create', 'Content-Length: 60000\r\n')),
          'a',
          200,
        ),
        'drips a second request': drip(opened(headOf('GET /health')), 'G', 200),
        'says nothing more': opened(headOf('GET /health')).closed,
      }
      // The control: a slow client that finishes in time is served.
      const text = login()
      for (const part of [text.slice(0, 10), text.slice(10, 20), text.slice(20)]) {
        await Bun.sleep(300)
        patient.send(part)
      }
      expect((await patient.answer()).status).toBe(200)
      const names = Object.keys(slow) as (keyof typeof slow)[]
      for (const name of names) {
        const { seconds } = await slow[name]
        expect(`${name} ${seconds < BOUND_SECONDS ? 'for a while' : seconds}`).toBe(`${name} for a while`)
      }
      const lines = service.logged()
      expect(lines.filter(({ level, status }) => level === 'error' || Number(status) >= 500)).toEqual([])
      const refused = lines.filter(({ route, status }) => route === '/auth/login' && status === 400)
      expect(refused.length).toBeGreaterThanOrEqual(3)
    },
    2 * BOUND_SECONDS * 1000,
  )

  test('with a credential cannot fill the memory: two hundred unfinished bodies of sixty kilobytes', async () => {
    const [count, bytes] = [200, 60 * KIB]
    Bun.gc(true)
    const before = rssMib()
    const headers = `Authorization: Bearer ${person.access}\r\n${JSON_TYPE}Content-Length: ${bytes + 1}\r\n`
    const wires = Array.from({ length: count }, () => dial(service))
    for (const wire of wires) wire.send(headOf('POST /keys/create', headers) + ' '.repeat(bytes))
    expect((await call(service, 'POST /keys/create', { bearer: person.access, json: {} })).status).toBe(201)
    const grown = rssMib() - before
    tell(`${count} bodies of ${bytes / KIB} KiB that do not end: ${grown.toFixed(0)} MiB more`)
    expect(grown).toBeLessThan((8 * count * bytes) / MIB)
    for (const wire of wires) await wire.closed
    expect((await call(service, 'GET /readyz')).status).toBe(200)
  })
})
