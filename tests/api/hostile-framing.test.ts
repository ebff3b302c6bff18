import { beforeEach, describe, expect, test } from 'bun:test'
import { call, newKey, newPerson } from '../support/client.ts'
import { dial } from '../support/http-socket.ts'
import { prepare, useService } from '../support/use-service.ts'

// Where a proxy and Latchkey disagree about the end of a request, the body of one client can become the request of another
// (request smuggling). Each framing here is refused and its connection closed, or is read exactly as RFC 9112 says.

const service = useService()
const person = prepare(() => newPerson(service))
/** The key that the hidden request would revoke. */
let prey: { id: string; key: string }

const isAlive = async ({ key }: { key: string }) =>
  (await call(service, 'GET /protected/any', { apiKey: key })).status === 200
beforeEach(async () => {
  if (!prey || !(await isAlive(prey))) prey = await newKey(service, person.access)
})

/** The hidden request, which must never be executed. */
const hidden = () => `DELETE /keys/self HTTP/1.1\r\nHost: latchkey.test\r\nX-API-Key: ${prey.key}\r\n\r\n`
const CHUNKED = 'Transfer-Encoding: chunked'
const length = (n: number | string) => `Content-Length: ${n}`

/** A request that answers 204 if its body is `{}`, and another status otherwise. */
const post = (headers: string, body: string, startLine = 'POST /auth/logout HTTP/1.1') =>
  `${startLine}\r\nHost: latchkey.test\r\nContent-Type: application/json\r\n${headers}\r\n\r\n${body}`

test.each<[string, number, string]>([
  ['a valid body', 204, '{}'],
  ['an invalid body', 422, '{"refresh_token":1}'],
  ['malformed JSON', 400, '{'],
  ['a body that is too large', 413, ' '.repeat(65 * 1024)],
])('a repeated Content-Length of the same value counts once: %s, %i', async (_, status, body) => {
  const once = length(body.length)
  for (const headers of [once, `${once}\r\n${once}`]) {
    const wire = dial(service)
    wire.send(post(headers, body))
    expect([headers, (await wire.answer()).status]).toEqual([headers, status])
  }
})

describe('the controls', () => {
  test('the hidden request revokes the key when it is sent openly', async () => {
    const wire = dial(service)
    wire.send(hidden())
    expect((await wire.answer()).status).toBe(204)
    expect(await isAlive(prey)).toBe(false)
    wire.end()
  })

  test('the body decides the status of the answer', async () => {
    for (const [body, status] of [
      ['{}', 204],
      ['[]', 422],
      ['{', 400],
    ] as const) {
      const wire = dial(service)
      wire.send(post(length(body.length), body))
      expect((await wire.answer()).status).toBe(status)
      wire.end()
    }
  })
})

/** Sends bytes, gives the status, and expects that the connection is closed and the hidden request not executed. */
async function refusal(bytes: string): Promise<number> {
  const wire = dial(service)
  wire.send(bytes)
  const { status, body } = await wire.answer()
  await wire.closed
  expect(body).toBe('')
  expect(await isAlive(prey)).toBe(true)
  return status
}

describe('is refused by 400, and its connection closed', () => {
  /** Bodies that would uncover the hidden request, if one part of the framing were followed and the other ignored. */
  const bothLengths = () => ({ all: length(5 + hidden().length), ended: `0\r\n\r\n${hidden()}` })
  const after = (headers: string) => () => post(headers, `{}${hidden()}`)
  const inChunks = (chunks: string) => () => post(CHUNKED, `${chunks}${hidden()}`)
  const coding = (name: string) => () => post(name, `0\r\n\r\n${hidden()}`)

  test.each<[string, () => string]>([
    [
      'Content-Length with Transfer-Encoding',
      () => post(`${bothLengths().all}\r\n${CHUNKED}`, bothLengths().ended),
    ],
    [
      'Transfer-Encoding with Content-Length',
      () => post(`${CHUNKED}\r\n${length(3)}`, `1\r\nZ\r\n0\r\n\r\n${hidden()}`),
    ],
    ['both, in odd case', () => post(`content-LENGTH: 5\r\ntRANSFER-encoding: cHUNKED`, bothLengths().ended)],
    ['an empty Transfer-Encoding with Content-Length', after(`Transfer-Encoding:\r\n${length(2)}`)],
    ['two lengths', after(`${length(2)}\r\n${length(40)}`)],
    ['two lengths in one header', after(length('2, 40'))],
    ['the same length twice in one header', after(length('2, 2'))],
    ['no length', after('Content-Length:')],
    ['a length with a plus', after(length('+2'))],
    ['a length below zero', after(length('-2'))],
    ['a length in hexadecimal', after(length('0x2'))],
    ['a length with a fraction', after(length('2.0'))],
    ['a length of two words', after(length('2 2'))],
    ['a length beyond 64 bits', after(length('18446744073709551618'))],
    ['a length of 2^62', after(length('4611686018427387904'))],
    ['the coding xchunked', coding('Transfer-Encoding: xchunked')],
    ['the coding chunked, identity', coding('Transfer-Encoding: chunked, identity')],
    ['the coding identity', coding('Transfer-Encoding: identity')],
    ['the coding identity with a length', after(`Transfer-Encoding: identity\r\n${length(2)}`)],
    ['the coding gzip, chunked', coding('Transfer-Encoding: gzip, chunked')],
    ['the coding chunked, chunked', coding('Transfer-Encoding: chunked, chunked')],
    ['a coding in quotes', coding('Transfer-Encoding: "chunked"')],
    ['a coding with a parameter', coding('Transfer-Encoding: chunked;q=1')],
    ['a coding after a vertical tab', coding('Transfer-Encoding:\x0bchunked')],
    ['a coding after a vertical tab with a length', after(`Transfer-Encoding:\x0bchunked\r\n${length(2)}`)],
    ['a coding after a no-break space', coding('Transfer-Encoding: \xa0chunked')],
    ['Transfer-Encoding twice', coding(`${CHUNKED}\r\n${CHUNKED}`)],
    ['two codings in two headers', coding(`Transfer-Encoding: identity\r\n${CHUNKED}`)],
    ['a space before the colon', after(`Transfer-Encoding : chunked\r\n${length(2)}`)],
    ['a tab before the colon', after(`Transfer-Encoding\t: chunked\r\n${length(2)}`)],
    ['a space before the name', after(` Transfer-Encoding: chunked\r\n${length(2)}`)],
    ['a folded header', after(`X-Folded: a\r\n b\r\n${length(2)}`)],
    ['a folded coding', after(`Transfer-Encoding:\r\n chunked\r\n${length(2)}`)],
    ['a bare LF between headers', after(`X-A: a\nTransfer-Encoding: chunked\r\n${length(2)}`)],
    ['a bare LF before the body', () => post('', '').replace('\r\n\r\n', '\n\n') + hidden()],
    ['a bare CR in a value', after(`X-A: a\rTransfer-Encoding: chunked\r\n${length(2)}`)],
    ['two CR', after(`X-A: a\r\r\n${length(2)}`)],
    ['NUL in a value', after(`X-A: a\0b\r\n${length(2)}`)],
    ['NUL in a name', after(`X\0A: a\r\n${length(2)}`)],
    ['a control character in a value', after(`X-A: a\x01b\r\n${length(2)}`)],
    ['a name beyond ASCII', after(`X-\xe9: a\r\n${length(2)}`)],
    ['a space in a name', after(`X A: a\r\n${length(2)}`)],
    ['a header without a colon', after(`X-A\r\n${length(2)}`)],
    ['a header without a name, before a coding', after(`${length(2)}\r\n: a\r\n${CHUNKED}`)],
    ['a chunk of +2', inChunks('+2\r\n{}\r\n0\r\n\r\n')],
    ['a chunk of -2', inChunks('-2\r\n{}\r\n0\r\n\r\n')],
    ['a chunk of 0x2', inChunks('0x2\r\n{}\r\n0\r\n\r\n')],
    ['a chunk of g', inChunks(`g\r\n${' '.repeat(16)}\r\n0\r\n\r\n`)],
    ['a chunk of :', inChunks(`:\r\n${' '.repeat(10)}\r\n0\r\n\r\n`)],
    ['a chunk of no size', inChunks('\r\n{}\r\n0\r\n\r\n')],
    ['a chunk of an extension alone', inChunks(';a\r\n{}\r\n0\r\n\r\n')],
    ['a space before the size', inChunks(' 2\r\n{}\r\n0\r\n\r\n')],
    ['a space after the size', inChunks('2 \r\n{}\r\n0\r\n\r\n')],
    ['two sizes', inChunks('2 3\r\n{}\r\n0\r\n\r\n')],
    ['a size beyond 64 bits', inChunks('10000000000000002\r\n{}\r\n0\r\n\r\n')],
    ['a size of -2 in 64 bits', inChunks('fffffffffffffffe\r\n{}\r\n0\r\n\r\n')],
    ['a bare LF after the size', inChunks('2\n{}\r\n0\r\n\r\n')],
    ['a bare LF after an extension', inChunks('2;a\n{}\r\n0\r\n\r\n')],
    ['a bare CR in an extension', inChunks('2;a\rb\r\n{}\r\n0\r\n\r\n')],
    ['a line end in quotes in an extension', inChunks('2;a="\r\n"\r\n{}\r\n0\r\n\r\n')],
    ['a bare LF after a chunk', inChunks('2\r\n{}\n0\r\n\r\n')],
    ['nothing after a chunk', inChunks('2\r\n{}0\r\n\r\n')],
    ['something else after a chunk', inChunks('2\r\n{}XX0\r\n\r\n')],
    ['a bare LF after the last chunk', inChunks('2\r\n{}\r\n0\n\n')],
    ['a last chunk of -0', inChunks('2\r\n{}\r\n-0\r\n\r\n')],
    [
      'a coding in HTTP/1.0',
      () => post(CHUNKED, `2\r\n{}\r\n0\r\n\r\n${hidden()}`, 'POST /auth/logout HTTP/1.0'),
    ],
    ['a line before the request', () => `\r\n${post(length(2), '{}')}${hidden()}`],
    ['no Host', () => `GET /health HTTP/1.1\r\n\r\n${hidden()}`],
    [
      'a target that is an authority',
      () => `GET latchkey.test:80 HTTP/1.1\r\nHost: latchkey.test\r\n\r\n${hidden()}`,
    ],
    ['a target without a slash', () => `GET health HTTP/1.1\r\nHost: latchkey.test\r\n\r\n${hidden()}`],
    ['the target *', () => `OPTIONS * HTTP/1.1\r\nHost: latchkey.test\r\n\r\n${hidden()}`],
    ['two spaces before the target', () => `GET  /health HTTP/1.1\r\nHost: latchkey.test\r\n\r\n${hidden()}`],
    ['a method with a digit', () => `G3T /health HTTP/1.1\r\nHost: latchkey.test\r\n\r\n${hidden()}`],
    ['the preface of HTTP/2', () => `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${hidden()}`],
  ])('%s', async (_, bytes) => {
    expect(await refusal(bytes())).toBe(400)
  })

  test.each<[string, string]>([
    ['HTTP/0.9', 'GET /health\r\n'],
    ['HTTP/1.2', 'GET /health HTTP/1.2\r\nHost: latchkey.test\r\n\r\n'],
    ['HTTP/2.0', 'GET /health HTTP/2.0\r\nHost: latchkey.test\r\n\r\n'],
    ['a version in small letters', 'GET /health http/1.1\r\nHost: latchkey.test\r\n\r\n'],
    ['a tab before the target', 'GET\t/health HTTP/1.1\r\nHost: latchkey.test\r\n\r\n'],
    ['a space in the target', 'GET /health x HTTP/1.1\r\nHost: latchkey.test\r\n\r\n'],
    ['NUL in the target', 'GET /health\0 HTTP/1.1\r\nHost: latchkey.test\r\n\r\n'],
    ['bare LF throughout', 'GET /health HTTP/1.1\nHost: latchkey.test\n\n'],
  ])('by 505: %s', async (_, bytes) => {
    expect(await refusal(bytes + hidden())).toBe(505)
  })

  test.each([
    ['an unknown method', 'FOOO'],
    ['a method in small letters', 'get'],
    ['a method of 10,000 letters', 'G'.repeat(10_000)],
  ])('without an answer: %s', async (_, method) => {
    expect(await refusal(`${method} /health HTTP/1.1\r\nHost: latchkey.test\r\n\r\n${hidden()}`)).toBe(0)
  })
})

describe('is read as RFC 9112 says, and so is the next request on the connection', () => {
  const inChunks = (chunks: string) => () => post(CHUNKED, chunks)
  const withHiddenBody = (startLine: string) => () => post(length(hidden().length), hidden(), startLine)

  test.each<[string, number, () => string]>([
    ['a body with its length', 204, () => post(length(2), '{}')],
    ['a length with a zero before it', 204, () => post(length('02'), '{}')],
    ['the same length twice', 204, () => post(`${length(2)}\r\n${length(2)}`, '{}')],
    ['a body in chunks', 204, inChunks('1\r\n{\r\n1\r\n}\r\n0\r\n\r\n')],
    [
      'white space around the coding',
      204,
      () => post('Transfer-Encoding: \t chunked \t', '2\r\n{}\r\n0\r\n\r\n'),
    ],
    ['a size with zeros before it', 204, inChunks(`${'0'.repeat(40)}2\r\n{}\r\n00\r\n\r\n`)],
    ['extensions of chunks', 204, inChunks('2;a=b;c\r\n{}\r\n0;d="e"\r\n\r\n')],
    [
      'a header with _ for -, which is a different header',
      204,
      () => post(`Transfer_Encoding: chunked\r\n${length(2)}`, '{}'),
    ],
    ['a request as the body of a POST', 400, withHiddenBody('POST /auth/logout HTTP/1.1')],
    ['a request as the body of a GET', 200, withHiddenBody('GET /health HTTP/1.1')],
    ['a request as the body of a DELETE', 401, withHiddenBody('DELETE /keys/self HTTP/1.1')],
    ['a request as the body of a TRACE, which no path takes', 405, withHiddenBody('TRACE /health HTTP/1.1')],
    [
      'a request as the body of a POST that is refused before',
      401,
      withHiddenBody('POST /keys/create HTTP/1.1'),
    ],
    ['a request as the body of a POST to nowhere', 404, withHiddenBody('POST /nowhere HTTP/1.1')],
    [
      'a request in a chunk of a GET',
      200,
      () =>
        post(CHUNKED, `${hidden().length.toString(16)}\r\n${hidden()}\r\n0\r\n\r\n`, 'GET /health HTTP/1.1'),
    ],
    [
      'an absolute target: the path counts, and no other host is asked',
      200,
      () => post(length(0), '', 'GET http://elsewhere.test/health HTTP/1.1'),
    ],
    [
      'an offer to change to a WebSocket, which is declined',
      200,
      () =>
        post(
          'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13',
          '',
          'GET /health HTTP/1.1',
        ),
    ],
    [
      'an offer to change to HTTP/2, which is declined',
      200,
      () =>
        post(
          'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA',
          '',
          'GET /health HTTP/1.1',
        ),
    ],
  ])('%s', async (_, status, bytes) => {
    const wire = dial(service)
    wire.send(bytes())
    expect((await wire.answer()).status).toBe(status)
    // Bytes left over from the first request would be read as the beginning of this one.
    wire.send('GET /livez HTTP/1.1\r\nHost: latchkey.test\r\n\r\n')
    expect(JSON.parse((await wire.answer()).body)).toEqual({ status: 'alive' })
    expect(await isAlive(prey)).toBe(true)
    wire.end()
  })

  test.each([
    ['a field after the last chunk', 'X-Trailer: a\r\n\r\n'],
    ['a length after the last chunk', 'Content-Length: 5\r\n\r\n'],
    ['something else after the last chunk', 'XX'],
    ['a request after the last chunk', ''],
  ])('%s: the request is answered, and the connection is closed because of what follows', async (_, rest) => {
    const wire = dial(service)
    wire.send(post(CHUNKED, `2\r\n{}\r\n0\r\n${rest}${hidden()}`))
    expect([0, 204]).toContain((await wire.answer()).status)
    await wire.closed
    expect(await isAlive(prey)).toBe(true)
  })
})

describe('several requests at once on a connection', () => {
  const get = (path: string, header = 'X-Nothing: 1') =>
    `GET ${path} HTTP/1.1\r\nHost: latchkey.test\r\n${header}\r\n\r\n`

  test('are answered in their order, each for its own credential', async () => {
    const other = await newPerson(service)
    const keys = [prey, await newKey(service, other.access)]
    for (const key of keys) expect(await isAlive(key)).toBe(true)
    const wire = dial(service)
    const order = [0, 1, 0, null, 1, null, 0] as const
    wire.send(
      order
        .map((who) => get('/protected/any', who === null ? undefined : `X-API-Key: ${keys[who]?.key}`))
        .join(''),
    )
    const answers = []
    for (const who of order) answers.push({ who, ...(await wire.answer()) })
    // An answer may be missing, because the connection was closed. But no answer belongs to another request.
    const answered = answers.filter(({ status }) => status !== 0)
    for (const { who, status } of answered) expect(status).toBe(who === null ? 401 : 200)
    if (answered.length < order.length) await wire.closed
    wire.end()
  })

  test('where the first is answered later: the connection is closed, and the second is not executed', async () => {
    const wire = dial(service)
    const login = JSON.stringify({ email: person.email, password: 'wrong' })
    wire.send(post(length(login.length), login, 'POST /auth/login HTTP/1.1') + hidden())
    await wire.closed
    expect((await wire.answer()).status).toBe(0)
    expect(await isAlive(prey)).toBe(true)
  })

  test('after Connection: close the rest is not read', async () => {
    const wire = dial(service)
    wire.send(get('/health', 'Connection: close') + hidden())
    expect((await wire.answer()).status).toBe(200)
    await wire.closed
    expect(await isAlive(prey)).toBe(true)
  })
})
