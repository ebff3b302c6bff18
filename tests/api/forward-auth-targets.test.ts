import { beforeAll, describe, expect, test } from 'bun:test'
import { connect } from 'node:net'
import { call, newKey } from '../support/client.ts'
import { sendRaw, type WireAnswer } from '../support/http-socket.ts'
import { addLoggedIn } from '../support/people.ts'
import { until } from '../support/until.ts'
import { useService, useSql } from '../support/use-service.ts'

// A proxy appends the client's path to the policy. These tests send such targets byte for byte, without a client library.

const service = useService({ corsOrigins: ['https://app.example.com'] })
const sql = useSql(service)
/** A user's key with the scope `read`: accepted for `any`, and refused for `role=admin`. */
let key: string
beforeAll(async () => {
  const { access } = await addLoggedIn(service, sql)
  key = (await newKey(service, access, { scopes: 'read' })).key
})

const bearing = () => [`Authorization: Bearer ${key}`]
const ask = (target: string, headers: string[] = [], method = 'GET') =>
  sendRaw(service, `${method} ${target}`, headers)
const isAsked = ({ status, head }: WireAnswer) => status === 200 && /^x-auth-type: key$/im.test(head)

/** Expects that a target refuses a request without a credential, and answers the key by `outcome`. */
async function expectOutcome(target: string, outcome: 'asked' | 'refused'): Promise<void> {
  const anonymous = await ask(target)
  expect([
    target,
    anonymous.status < 200 || anonymous.status >= 400,
    /x-auth-/i.test(anonymous.head),
  ]).toEqual([target, true, false])
  const answer = await ask(target, bearing())
  const found = isAsked(answer)
    ? 'asked'
    : answer.status >= 400
      ? 'refused'
      : `${answer.status} ${answer.head}`
  expect([target, found]).toEqual([target, outcome])
}

describe('a target with a valid policy is a question, whatever follows the policy', () => {
  test.each([
    '/forward-auth',
    '/forward-auth?scope=read',
    '/forward-auth/any',
    '/forward-auth/any/',
    '/forward-auth/any/a/b/c',
    '/forward-auth/any//a//b',
    '/forward-auth/any?scope=none',
    '/forward-auth/any/?role=admin',
    '/forward-auth/any/a?role=admin&x=%zz/../..',
    '/forward-auth/any/%2f%2F%5c%00%zz%',
    '/forward-auth/any/a;b=c',
    '/forward-auth/any/a/../b',
    '/forward-auth/any//..//..//..//health',
    '/forward-auth/any/forward-auth/role=admin',
    '/forward-auth/scope=read',
    '/forward-auth/scope=read&kind=key/a',
    'http://latchkey.test/forward-auth',
    'http://elsewhere.test/forward-auth/any/a',
  ])('%s', (target) => expectOutcome(target, 'asked'))
})

describe('a target that climbs, is encoded, or is another path is refused', () => {
  test.each([
    // Climbing out of a policy: to another policy, to an open route, above the root.
    '/forward-auth/role=admin/../any',
    '/forward-auth/role=admin/../any/x',
    '/forward-auth/role=admin/a/../../any',
    '/forward-auth/role=admin/../../forward-auth',
    '/forward-auth/role=admin/../../forward-auth?kind=any',
    '/forward-auth/role=admin/../../health',
    '/forward-auth/role=admin/../../livez?x',
    '/forward-auth/role=admin/../../docs',
    '/forward-auth/role=admin/../../.well-known/jwks.json',
    '/forward-auth/role=admin/..',
    '/forward-auth/any/..',
    '/forward-auth/any/../../health',
    '/forward-auth/any/../../../../../health',
    '/forward-auth/any/a/../../../health',
    '/forward-auth/role=admin/%2e%2e/any',
    '/forward-auth/role=admin/%2E%2E/any',
    '/forward-auth/role=admin/.%2e/any',
    '/forward-auth/role=admin/%2e%2e/%2e%2e/health',
    '/forward-auth/role=admin\\..\\any',
    '/forward-auth/role=admin/..\\any',
    '/forward-auth/role=admin\\..\\..\\health',
    '/forward-auth/role=admin/..\\..\\health',
    '/forward-auth/role=admin%2f..%2fany',
    '/forward-auth/any%2f..%2f..%2fhealth',
    '/forward-auth/any%5c..%5c..%5chealth',
    'http://latchkey.test/forward-auth/role=admin/../any',
    'http://latchkey.test/forward-auth/role=admin/../../health',
    // No policy, or an encoded policy.
    '/forward-auth/',
    '/forward-auth//',
    '/forward-auth//any',
    '/forward-auth/./any',
    '/forward-auth/.',
    '/forward-auth/..',
    '/forward-auth/../health',
    '/forward-auth/../forward-auth',
    '/forward-auth//../../health',
    '/forward-auth//../../forward-auth?kind=any',
    '/forward-auth/%2e%2e/health',
    '/forward-auth/%2e/any',
    '/forward-auth/a%6ey',
    '/forward-auth/a%6ey/any',
    '/forward-auth/scope%3dread',
    '/forward-auth/scope=r%65ad/../scope=other/x',
    '/forward-auth/any%00',
    '/forward-auth/any%00/any',
    '/forward-auth/any;x=1',
    '/forward-auth/any#',
    '/forward-auth/any|x',
    '/forward-auth/Any',
    '/forward-auth/%zz/any',
    '/forward-auth?',
    '/forward-auth??kind=any',
    '/forward-auth?kind=any#',
    '/forward-auth?kind=any&kind=any',
    '/forward-auth?kind=any?',
    // Another path.
    '//forward-auth',
    '//forward-auth/any',
    '//latchkey.test/forward-auth',
    '/./forward-auth',
    '/.//forward-auth',
    '/x/../forward-auth',
    '/x/../forward-auth/any',
    '/health/../forward-auth',
    '/%66orward-auth',
    '/forward%2dauth',
    '/Forward-Auth',
    '/FORWARD-AUTH',
    '/forward-auth;x=1',
    '/forward-auth%3fkind=any',
    '/forward-auth%00',
    '/forward-auth#',
    '/forward-auth\\any',
    '/forward_auth',
    '/forward-auths',
    'forward-auth',
    '?kind=any',
    '*',
  ])('%s', (target) => expectOutcome(target, 'refused'))

  test('also with an invalid Host', async () => {
    for (const host of ['', 'a/b', 'a?b', 'a b', 'evil/forward-auth/any?', '[', 'x%2fy']) {
      const named = [`Host: ${host}`]
      for (const target of ['/forward-auth', '/forward-auth/any/a', '/forward-auth/role=admin/../any'])
        expect((await ask(target, named)).status).toBeGreaterThanOrEqual(400)
      const climbing = await ask('/forward-auth/any/../../health', [...named, ...bearing()])
      expect([host, climbing.status]).toEqual([host, 400])
      const lacking = await ask('/forward-auth/role=admin/any', [...named, ...bearing()])
      expect([host, lacking.status]).toEqual([host, 400])
    }
  })
})

describe('every method is the same question', () => {
  const METHODS = [
    'GET',
    'HEAD',
    'POST',
    'PUT',
    'PATCH',
    'DELETE',
    'OPTIONS',
    'TRACE',
    'PROPFIND',
    'PURGE',
    'QUERY',
  ]

  test.each(METHODS)('%s', async (method) => {
    for (const target of ['/forward-auth?scope=read', '/forward-auth/scope=read/a', '/forward-auth/any']) {
      expect([target, (await ask(target, [], method)).status]).toEqual([target, 401])
      const answer = await ask(target, bearing(), method)
      expect([target, isAsked(answer), answer.body]).toEqual([target, true, ''])
      expect((await ask(target.replace('scope=read', 'role=admin'), bearing(), method)).status).toBe(
        target.includes('scope') ? 403 : 200,
      )
    }
  })

  test('a preflight is a question too, and CORS does not answer it', async () => {
    const preflight = [
      'Origin: https://app.example.com',
      'Access-Control-Request-Method: POST',
      'Access-Control-Request-Headers: authorization',
    ]
    for (const target of ['/forward-auth', '/forward-auth/any/a']) {
      for (const [headers, status] of [
        [preflight, 401],
        [[...preflight, ...bearing()], 200],
      ] as const) {
        const answer = await ask(target, [...headers], 'OPTIONS')
        expect(answer.status).toBe(status)
        expect(answer.head.toLowerCase()).not.toContain('access-control-')
      }
    }
    // The control: CORS answers a preflight of another route.
    const elsewhere = await ask('/auth/me', preflight, 'OPTIONS')
    expect([elsewhere.status, elsewhere.head.toLowerCase().includes('access-control-allow-origin')]).toEqual([
      204,
      true,
    ])
  })
})

describe('the body is not read', () => {
  test.each([
    ['declared, and never sent', ['Content-Length: 100000'], ''],
    ['in chunks that never come', ['Transfer-Encoding: chunked'], ''],
    ['begun, and not ended', ['Transfer-Encoding: chunked'], '5\r\nabc'],
    ['promised after a 100', ['Content-Length: 5', 'Expect: 100-continue'], ''],
    [
      'of an unsupported type',
      ['Content-Length: 3', 'Content-Type: application/x-www-form-urlencoded'],
      '%zz',
    ],
    ['larger than any that Latchkey accepts', ['Content-Length: 300000'], 'x'.repeat(300_000)],
  ])('%s', async (_, headers, body) => {
    for (const target of ['/forward-auth', '/forward-auth/any/upload']) {
      for (const method of ['POST', 'PUT', 'PROPFIND'])
        expect(await answerBeforeBody(target, method, [...bearing(), ...headers], body)).toBe(200)
    }
  })

  test('and is not read as the next request when it arrives later', async () => {
    const { hostname, port } = new URL(service.url)
    const hidden = 'GET /forward-auth/role=admin HTTP/1.1\r\nHost: x\r\n\r\n'
    const first = [
      'POST /forward-auth HTTP/1.1',
      'Host: x',
      ...bearing(),
      `Content-Length: ${hidden.length}`,
      '',
      '',
    ]
    const second = ['GET /forward-auth HTTP/1.1', 'Host: x', ...bearing(), 'Connection: close', '', '']
    let text = ''
    const socket = connect(Number(port), hostname, () => socket.write(first.join('\r\n')))
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.on('error', () => {})
    const statuses = () => text.match(/^HTTP\/1\.1 \d+/gm) ?? []
    await until(() => statuses().length === 1, 'an answer before the body')
    socket.write(hidden + second.join('\r\n'))
    await until(() => socket.destroyed, 'the end of the connection')
    // The connection is closed after the first answer, or gives two answers, but never a third.
    expect([1, 2]).toContain(statuses().length)
    expect(new Set(statuses())).toEqual(new Set(['HTTP/1.1 200']))
  })

  /** The status of the answer, before the rest of the body is sent. */
  async function answerBeforeBody(
    target: string,
    method: string,
    headers: string[],
    body: string,
  ): Promise<number> {
    const { hostname, port } = new URL(service.url)
    let text = ''
    const lines = [`${method} ${target} HTTP/1.1`, 'Host: latchkey.test', ...headers, '', body]
    const socket = connect(Number(port), hostname, () => socket.write(lines.join('\r\n')))
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      text += chunk
    })
    await until(() => /^HTTP\/1\.1 [2-5]\d\d/m.test(text), `an answer to ${method} ${target}`)
    socket.destroy()
    return Number(/^HTTP\/1\.1 ([2-5]\d\d)/m.exec(text)?.[1])
  }
})

test('the log entry names the route, and neither policy nor path', async () => {
  await ask('/forward-auth/scope=read/private-path?private=1', bearing())
  await call(service, 'GET /forward-auth?scope=unheard-of')
  const lines = service
    .logged()
    .filter(({ message, route }) => message === 'request' && route === '/forward-auth')
  expect(lines.at(-2)).toMatchObject({
    method: 'GET',
    status: 200,
    principal: expect.stringContaining('key:'),
  })
  expect(lines.at(-1)).toMatchObject({ method: 'GET', status: 401, principal: null })
  for (const text of ['private', 'unheard-of']) expect(service.loggedText()).not.toContain(text)
})
