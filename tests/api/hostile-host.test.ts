import { beforeAll, describe, expect, test } from 'bun:test'
import { DEFAULT_RATE_LIMITS } from '../../src/config/rate-limits.ts'
import { newKey, newPerson } from '../support/client.ts'
import { dial, type WireAnswer } from '../support/http-socket.ts'
import { useService } from '../support/use-service.ts'

// Elysia takes the path from a URL that begins with the Host header. A crafted Host could so choose the path.

const LOGINS = 3
/** Spellings that may be read as the path of the log-in, or hide it from the limit. */
const SPELLINGS = [
  '/auth/login',
  '/x/auth/login',
  '/xx/auth/login',
  '/xxxxxxxxxx/auth/login',
  '//auth/login',
  '/auth/login/',
  '/auth//login',
  '/auth/./login',
  '/x/../auth/login',
  '/x/%2e%2e/auth/login',
  '/auth/%6cogin',
  '/auth%2flogin',
  '/auth\\login',
  '/AUTH/LOGIN',
  '/auth/login;x',
  '/auth/login#x',
  '/auth/login?/x',
  'http://elsewhere.test/auth/login',
  'http://elsewhere.test?/auth/login',
  'http://elsewhere.test#/auth/login',
]

const service = useService({
  rateLimits: {
    ...DEFAULT_RATE_LIMITS,
    signup: { limit: 100, windowSeconds: 3600 },
    login: { limit: LOGINS, windowSeconds: 3600 },
    other: { limit: 10_000, windowSeconds: 60 },
  },
})
let key: string
let access: string
beforeAll(async () => {
  const person = await newPerson(service)
  access = person.access
  key = (await newKey(service, access)).key
})

/** Forms of the Host header: the HTTP version, and the header with its line end. */
const HOSTS: Record<string, [version: string, header: string]> = {
  'of one character': ['1.1', 'Host: a\r\n'],
  'of two characters': ['1.1', 'Host: ab\r\n'],
  'of three characters': ['1.1', 'Host: abc\r\n'],
  'of a usual length': ['1.1', 'Host: latchkey.test\r\n'],
  'with a port beyond all': ['1.1', 'Host: a:99999\r\n'],
  'with half an IPv6 address': ['1.1', 'Host: [::zz\r\n'],
  'of a percent sign': ['1.1', 'Host: %\r\n'],
  empty: ['1.1', 'Host:\r\n'],
  'with a space': ['1.1', 'Host: a b\r\n'],
  'with a path': ['1.1', 'Host: a/health?\r\n'],
  'with a fragment': ['1.1', 'Host: a/health#\r\n'],
  'with a user': ['1.1', 'Host: a@b\r\n'],
  'given twice': ['1.1', 'Host: ab\r\nHost: c\r\n'],
  'missing, in HTTP/1.0': ['1.0', ''],
}

async function ask(
  host: string,
  route: string,
  headers: readonly string[] = [],
  body = '',
): Promise<WireAnswer> {
  const [method, path] = route.split(' ')
  const [version, hostLine] = HOSTS[host] ?? []
  const wire = dial(service)
  wire.send(
    `${method} ${path} HTTP/${version}\r\n${hostLine}${headers.map((line) => `${line}\r\n`).join('')}Content-Length: ${body.length}\r\n\r\n${body}`,
  )
  const answer = await wire.answer()
  wire.end()
  return answer
}

describe.each(Object.keys(HOSTS))('a Host %s', (host) => {
  test('does not change which paths exist', async () => {
    expect((await ask(host, 'GET /health')).status).toBe(200)
    expect((await ask(host, 'GET /auth/me', [`X-API-Key: ${key}`])).status).toBe(200)
    // A path that was not requested before, and an unknown path.
    const fresh = (await newKey(service, access)).key
    expect((await ask(host, 'GET /auth/me', [`X-API-Key: ${fresh}`])).status).toBe(200)
    expect((await ask(host, 'GET /auth/me', ['X-API-Key: unknown'])).status).toBe(401)
  })

  test('opens no path by a prefix before it', async () => {
    for (let length = 0; length <= 14; length++) {
      const before = `/${'x'.repeat(length)}`
      for (const path of ['/health', '/auth/me', '/keys/list']) {
        const { status, body } = await ask(host, `GET ${before}${path}`, [`X-API-Key: ${key}`])
        expect(`${before}${path} ${[400, 404].includes(status) ? 'refused' : status}`).toBe(
          `${before}${path} refused`,
        )
        expect(body).toMatch(/^({"type":"\/errors\/not_found"|$)/)
      }
    }
  })

  test('causes no server error', async () => {
    for (const [route, allowed] of [
      ['GET /auth/me', [401]],
      ['GET /nowhere', [404, 400]],
      ['PUT /auth/login', [405, 400]],
      ['GET /docs/', [308, 400]],
      ['GET /health/', [200, 404, 400]],
      ['OPTIONS /auth/login', [405, 400]],
      ['POST /oauth/token', [415]],
      ['CONNECT a:80', [404, 400]],
    ] as const) {
      const { status, body } = await ask(host, route)
      expect(`${route}: ${(allowed as readonly number[]).includes(status) ? 'refused' : status}`).toBe(
        `${route}: refused`,
      )
      expect(body).not.toContain('<')
    }
  })
})

test('no Host and no spelling evades the limit of a path', async () => {
  const login = JSON.stringify({ email: 'nobody@example.com', password: 'wrong' })
  const json = ['Content-Type: application/json']
  const statuses: number[] = []
  for (const host of Object.keys(HOSTS))
    for (const path of SPELLINGS) statuses.push((await ask(host, `POST ${path}`, json, login)).status)
  // The log-in of the person used one of them.
  expect(statuses.filter((status) => status === 401)).toHaveLength(LOGINS - 1)
  expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(0)
})
