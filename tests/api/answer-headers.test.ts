import { describe, expect, test } from 'bun:test'
import { type Answer, type Call, call, newPerson } from '../support/client.ts'
import { sendRaw } from '../support/http-socket.ts'
import { startService } from '../support/service.ts'
import { prepare, useService } from '../support/use-service.ts'

const service = useService()
const person = prepare(() => newPerson(service))

const REQUEST_ID = /^[A-Za-z0-9._-]{8,64}$/
const json = { 'content-type': 'application/json' }

function expectCommonHeaders(answer: Answer, cacheControl = 'no-store'): void {
  expect(answer.headers.get('x-request-id')).toMatch(REQUEST_ID)
  expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
  expect(answer.headers.get('referrer-policy')).toBe('no-referrer')
  expect(answer.headers.get('cache-control')).toBe(cacheControl)
}

describe('every answer has the common headers, whatever its status', () => {
  test.each<[number, string, () => Call]>([
    [200, 'GET /', () => ({})],
    [200, 'GET /health', () => ({})],
    [200, 'HEAD /health', () => ({})],
    [200, 'GET /auth/me', () => ({ bearer: person.access })],
    [200, 'POST /auth/login', () => ({ json: { email: person.email, password: person.password } })],
    [201, 'POST /auth/signup', () => ({ json: { email: 'headers@example.com', password: 'vK8#qp2zx' } })],
    [201, 'POST /keys/create', () => ({ bearer: person.access, json: {} })],
    [204, 'POST /auth/logout', () => ({})],
    [400, 'POST /auth/login', () => ({ raw: '{', headers: json })],
    [400, 'POST /oauth/token', () => ({ form: { grant_type: 'magic' } })],
    [400, 'GET /auth/me', () => ({ bearer: 'a', apiKey: 'b' })],
    [401, 'GET /auth/me', () => ({})],
    [401, 'GET /auth/me', () => ({ bearer: 'garbage' })],
    [401, 'POST /auth/login', () => ({ json: { email: person.email, password: 'wrong' } })],
    [403, 'GET /protected/admin', () => ({ bearer: person.access })],
    [404, 'GET /nowhere', () => ({})],
    [404, 'DELETE /keys/revoke/not-an-id', () => ({ bearer: person.access })],
    [405, 'PUT /auth/login', () => ({ json: {} })],
    [409, 'POST /auth/signup', () => ({ json: { email: person.email, password: 'vK8#qp2zx' } })],
    [413, 'POST /auth/login', () => ({ raw: 'a'.repeat(70_000), headers: json })],
    [415, 'POST /auth/login', () => ({ raw: 'a', headers: { 'content-type': 'text/plain' } })],
    [422, 'POST /auth/login', () => ({ json: {} })],
  ])('%i of %s', async (status, route, options) => {
    const answer = await call(service, route, options())
    expect(answer.status).toBe(status)
    expectCommonHeaders(answer)
  })

  test.each(['GET /.well-known/jwks.json'])('%s may be cached for five minutes', async (route) => {
    expectCommonHeaders(await call(service, route), 'public, max-age=300')
  })

  test('a 500 has them too, and does not name its cause', async () => {
    const broken = await startService()
    broken.context.signing.sign = () => Promise.reject(new Error('the private reason'))
    const json = { email: 'broken@example.com', password: 'vK8#qp2zx' }
    expect((await call(broken, 'POST /auth/signup', { json })).status).toBe(201)
    const answer = await call(broken, 'POST /auth/login', { json })
    expect([answer.status, answer.body.code]).toEqual([500, 'internal'])
    expectCommonHeaders(answer)
    expect(answer.text).not.toContain('the private reason')
    expect(broken.loggedText()).toContain('the private reason')
    expect(broken.loggedText()).toContain(answer.body.request_id)
    await broken.stop()
  })
})

describe('a request id', () => {
  test.each(['abcdefgh', 'trace-01.2_X', 'a'.repeat(64)])('%p is taken from the request', async (id) => {
    const answer = await call(service, 'GET /nowhere', { headers: { 'x-request-id': id } })
    expect(answer.headers.get('x-request-id')).toBe(id)
    expect(answer.body.request_id).toBe(id)
  })

  test.each(['', 'short', 'a'.repeat(65), 'two words', 'quote"quote', 'a,b,c,d,e,f', '{"level":"error"}'])(
    '%p is replaced',
    async (id) => {
      const answer = await call(service, 'GET /nowhere', { headers: { 'x-request-id': id } })
      expect(answer.headers.get('x-request-id')).toMatch(REQUEST_ID)
      expect(answer.headers.get('x-request-id')).not.toBe(id)
      expect(answer.body.request_id).toBe(answer.headers.get('x-request-id'))
    },
  )

  test('that was sent twice is replaced', async () => {
    const { head } = await sendRaw(service, 'GET /health', [
      'x-request-id: first-one',
      'x-request-id: other-one',
    ])
    expect(head.toLowerCase()).toContain('x-request-id: ')
    expect(head).not.toContain('first-one')
  })

  test('is unique for each request', async () => {
    const answers = await Promise.all(Array.from({ length: 100 }, () => call(service, 'GET /health')))
    expect(new Set(answers.map((answer) => answer.headers.get('x-request-id'))).size).toBe(100)
  })
})
