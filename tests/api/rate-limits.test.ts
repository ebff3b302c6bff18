import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { RateLimitName } from '../../src/config/rate-limits.ts'
import { DEFAULT_RATE_LIMITS } from '../../src/config/rate-limits.ts'
import { type Answer, type Call, newKey, newPerson, type Person } from '../support/client.ts'
import { call } from '../support/described.ts'
import { everyLimit } from '../support/limits.ts'
import { expectProblem } from '../support/problem.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'

const LIMIT = 3

/** Two servers: one with the default limits, one with `LIMIT` a minute for everything. Both trust the tests as their proxy. */
let usual: TestService
let strict: TestService
let owner: Person
beforeAll(async () => {
  const behindProxy = { trustedProxies: ['127.0.0.1/32', '10.0.0.0/8'] }
  usual = await startService({ rateLimits: DEFAULT_RATE_LIMITS, ...behindProxy })
  strict = await startService(
    { rateLimits: everyLimit({ limit: LIMIT, windowSeconds: 60 }), ...behindProxy },
    usual,
  )
  const unlimited = await startService({}, usual)
  owner = await newPerson(unlimited)
  await unlimited.stop()
})
afterAll(async () => {
  await strict.stop()
  await usual.stop()
})

let clients = 0
/** An address that no request has come from. */
const freshAddress = () => `198.51.${100 + Math.floor(++clients / 250)}.${clients % 250}`

/** Gives a function that calls from an address of its own. */
function clientAt(address = freshAddress(), on = strict) {
  return (route: string, options: Call = {}) =>
    call(on, route, { ...options, headers: { 'x-forwarded-for': address, ...options.headers } })
}

function expectLimited(answer: Answer, limit: number, windowSeconds: number): void {
  expectProblem(answer, 'rate_limited')
  expect(answer.headers.get('ratelimit-limit')).toBe(String(limit))
  expect(answer.headers.get('ratelimit-remaining')).toBe('0')
  expect(answer.headers.get('retry-after')).toBe(answer.headers.get('ratelimit-reset'))
  const wait = Number(answer.headers.get('retry-after'))
  expect(wait).toBeGreaterThan(windowSeconds - 30)
  expect(wait).toBeLessThanOrEqual(windowSeconds)
  expect(answer.headers.get('cache-control')).toBe('no-store')
  expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
}

const JSON_TYPE = { 'content-type': 'application/json' }
const password = 'correct-horse-battery'
let emails = 0
const freshEmail = () => `limit-${++emails}@example.com`

describe('the limits of the contract', () => {
  /** Requests that succeed, so that only successes are counted. */
  async function requests(): Promise<
    // Those of the device flow: device-flow.test.ts.
    Record<
      Exclude<RateLimitName, 'device' | 'device_authorization' | 'register' | 'client_metadata'>,
      { status: number; send: (as: Client) => Promise<Answer> }
    >
  > {
    let { refresh } = owner
    return {
      signup: {
        status: 201,
        send: (as) => as('POST /auth/signup', { json: { email: freshEmail(), password } }),
      },
      login: {
        status: 200,
        send: (as) => as('POST /auth/login', { json: { email: owner.email, password: owner.password } }),
      },
      refresh: {
        status: 200,
        send: async (as) => {
          const answer = await as('POST /auth/refresh', { json: { refresh_token: refresh } })
          refresh = answer.body.refresh_token ?? refresh
          return answer
        },
      },
      // The same password, so that the session stays the same.
      password: {
        status: 401,
        send: (as) => {
          const json = { current_password: 'not-the-password', new_password: 'a-quite-unheard-of-one' }
          return as('POST /auth/password', { bearer: owner.access, json })
        },
      },
      mail: {
        status: 401,
        send: (as) =>
          as('POST /auth/password-reset', {
            json: { token: 'et_x', new_password: 'a-quite-unheard-of-one' },
          }),
      },
      authorize: { status: 303, send: (as) => as('POST /oauth/authorize', { form: { client_id: 'any' } }) },
      create_key: { status: 201, send: (as) => as('POST /keys/create', { bearer: owner.access, json: {} }) },
      unknown_credential: { status: 401, send: (as) => as('GET /protected/any', { apiKey: 'guess' }) },
      other: { status: 200, send: (as) => as('GET /auth/me', { bearer: owner.access }) },
    }
  }
  type Client = ReturnType<typeof clientAt>

  test.each([
    ['signup', 5, 3600],
    ['login', 10, 60],
    ['refresh', 60, 60],
    ['password', 10, 60],
    ['mail', 10, 3600],
    ['authorize', 60, 60],
    ['create_key', 60, 3600],
    ['unknown_credential', 60, 60],
    ['other', 600, 60],
  ] as const)('%s: %d in %d seconds, for each address', async (name, limit, windowSeconds) => {
    const client = clientAt(undefined, usual)
    const { status, send } = (await requests())[name]
    for (let i = 1; i <= limit; i++) {
      const answer = await send(client)
      expect(`${i}: ${answer.status}`).toBe(`${i}: ${status}`)
      if (name === 'unknown_credential') continue
      // Limits per address are told by refusals alone.
      for (const header of ['ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset', 'retry-after'])
        expect([header, answer.headers.has(header)]).toEqual([header, false])
    }
    for (let i = 0; i < 2; i++) expectLimited(await send(client), limit, windowSeconds)
    expect((await send(clientAt(undefined, usual))).status).toBe(status)
  })

  test('of log-in and of proofs hold for second factors too', async () => {
    const client = clientAt()
    const response = {
      id: 'AA',
      rawId: 'AA',
      type: 'public-key',
      response: { clientDataJSON: 'e30', authenticatorData: 'AA', signature: 'AA' },
    }
    expectProblem(
      await client('POST /auth/login/mfa', { json: { mfa_token: 'x', code: '1' } }),
      'invalid_token',
    )
    expectProblem(await client('POST /auth/passkeys/login', { json: { response } }), 'invalid_login')
    expect((await client('POST /auth/passkeys/login/options', { json: {} })).status).toBe(200)
    for (const route of [
      'POST /auth/login/mfa',
      'POST /auth/passkeys/login',
      'POST /auth/passkeys/login/options',
    ])
      expectLimited(await client(route, { json: {} }), LIMIT, 60)
    const prove = (as = client) =>
      as('POST /auth/reauthenticate', { bearer: owner.access, json: { password: 'not-the-password' } })
    for (let i = 0; i < LIMIT; i++) expectProblem(await prove(), 'invalid_login')
    expectLimited(await prove(), LIMIT, 60)
    expectLimited(await client('POST /auth/reauthenticate/options', { bearer: owner.access }), LIMIT, 60)
    expectProblem(await prove(clientAt()), 'invalid_login')
  })

  test('of mail is one for all routes that mail or take what was mailed', async () => {
    const client = clientAt()
    const routes: [string, Call][] = [
      ['POST /auth/forgot-password', { json: { email: freshEmail() } }],
      ['POST /auth/verify-email', { json: { token: 'et_x' } }],
      ['POST /auth/verify-email/resend', { json: { email: freshEmail() } }],
      ['POST /auth/email', { json: { email: freshEmail() }, bearer: owner.access }],
      ['POST /auth/password-reset', { json: { token: 'et_x', new_password: 'a-quite-unheard-of-one' } }],
    ]
    for (let i = 0; i < LIMIT; i++) {
      const [route = '', options] = routes[i % routes.length] ?? []
      expect((await client(route, options)).status).not.toBe(429)
    }
    for (const [route, options] of routes) expectLimited(await client(route, options), LIMIT, 60)
  })

  test('are counted separately', async () => {
    const client = clientAt()
    const login = () => client('POST /auth/login', { json: { email: freshEmail(), password } })
    for (let i = 0; i < LIMIT; i++) expectProblem(await login(), 'invalid_login')
    expectLimited(await login(), LIMIT, 60)
    expect((await client('POST /auth/signup', { json: { email: freshEmail(), password } })).status).toBe(201)
    expectProblem(await client('POST /auth/refresh', { json: { refresh_token: 'rt_x' } }), 'invalid_token')
    expect((await client('POST /keys/create', { bearer: owner.access, json: {} })).status).toBe(201)
    expect((await client('GET /auth/me', { bearer: owner.access })).status).toBe(200)
  })

  test('hold against requests at the same time', async () => {
    const client = clientAt()
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        client('POST /auth/login', { json: { email: freshEmail(), password } }),
      ),
    )
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(LIMIT)
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(20 - LIMIT)
  })

  test('reset at the end of their window', async () => {
    const quick = await startService(
      { rateLimits: everyLimit({ limit: 2, windowSeconds: 1 }), trustedProxies: ['127.0.0.1/32'] },
      usual,
    )
    try {
      const client = clientAt('203.0.113.1', quick)
      const statuses = new Set<number>()
      await until(async () => {
        statuses.add((await client('GET /')).status)
        return statuses.has(429)
      }, 'the limit is reached')
      await until(async () => (await client('GET /')).status === 200, 'the window is over')
    } finally {
      await quick.stop()
    }
  })
})

describe('a request that fails is counted too', () => {
  const tooLarge = JSON.stringify({ email: 'x'.repeat(70_000) })
  const asJson = (raw: string) => ({ raw, headers: JSON_TYPE })
  const unread = {
    malformed: [400, asJson('{"email":')],
    'of another type': [415, { raw: 'email=a', headers: { 'content-type': 'text/plain' } }],
    'too large': [413, asJson(tooLarge)],
    'not an object': [422, asJson('[1]')],
    'nested too deeply': [400, asJson(`${'['.repeat(40)}${']'.repeat(40)}`)],
  } satisfies Record<string, [number, Call]>

  const cases: [string, number, (as: ReturnType<typeof clientAt>) => Promise<Answer>][] = []
  for (const route of ['signup', 'login', 'refresh'])
    for (const [what, [status, options]] of Object.entries(unread))
      cases.push([`POST /auth/${route}, ${what}`, status, (as) => as(`POST /auth/${route}`, options)])
  for (const [what, [status, options]] of Object.entries(unread)) {
    const create = (as: ReturnType<typeof clientAt>) =>
      as('POST /keys/create', { ...options, bearer: owner.access })
    cases.push([`POST /keys/create, ${what}`, status, create])
  }
  cases.push(
    [
      'a sign-up of a taken address',
      409,
      (as) => as('POST /auth/signup', { json: { email: owner.email, password } }),
    ],
    [
      'a sign-up with a short password',
      422,
      (as) => as('POST /auth/signup', { json: { email: freshEmail(), password: 'short' } }),
    ],
    ['a wrong login', 401, (as) => as('POST /auth/login', { json: { email: freshEmail(), password } })],
    ['a forged refresh token', 401, (as) => as('POST /auth/refresh', { json: { refresh_token: 'rt_x' } })],
    ['a refresh without a token', 422, (as) => as('POST /auth/refresh')],
    [
      'a key with too much scope',
      403,
      (as) => as('POST /keys/create', { bearer: owner.access, json: { scopes: 'everything' } }),
    ],
    [
      'a key with an unknown member',
      422,
      (as) => as('POST /keys/create', { bearer: owner.access, json: { scope: 'read' } }),
    ],
    ['two credentials', 400, (as) => as('GET /auth/me', { bearer: owner.access, apiKey: 'sk_x' })],
    ['an unknown path', 404, (as) => as('GET /nothing/here')],
    ['a method that the path does not take', 405, (as) => as('PUT /auth/me')],
    ['an unknown id', 404, (as) => as('DELETE /keys/revoke/x', { bearer: owner.access })],
    ['a wrong query', 422, (as) => as('DELETE /keys/revoke/x?created=x', { bearer: owner.access })],
    [
      'the wrong kind of credential',
      403,
      (as) => as('GET /protected/service-only', { bearer: owner.access }),
    ],
    ['a role that is missing', 403, (as) => as('GET /protected/admin', { bearer: owner.access })],
    ['no credential', 401, (as) => as('GET /protected/any')],
    ['a guessed key', 401, (as) => as('GET /keys/list', { apiKey: `sk_${'0'.repeat(49)}` })],
    ['a forged token', 401, (as) => as('GET /auth/me', { bearer: 'eyJhbGciOiJub25lIn0.e30.' })],
    ['another scheme', 401, (as) => as('GET /auth/me', { headers: { authorization: 'Basic YTpi' } })],
    [
      'a guess before a malformed body',
      401,
      (as) => as('POST /keys/create', { apiKey: 'guess', raw: '{', headers: JSON_TYPE }),
    ],
  )

  test.each(cases)('%s', async (_, status, send) => {
    const client = clientAt()
    for (let i = 1; i <= LIMIT; i++) expect(`${i}: ${(await send(client)).status}`).toBe(`${i}: ${status}`)
    expectLimited(await send(client), LIMIT, 60)
    expect((await send(clientAt())).status).toBe(status)
  })

  test('and after so many failures a valid request is refused', async () => {
    const client = clientAt()
    for (let i = 0; i < LIMIT; i++) await client('POST /auth/signup', { raw: '{', headers: JSON_TYPE })
    const email = freshEmail()
    expectLimited(await client('POST /auth/signup', { json: { email, password } }), LIMIT, 60)
    expect((await clientAt()('POST /auth/signup', { json: { email, password } })).status).toBe(201)
  })

  test.each([
    ['a slash at the end', '/auth/login/'],
    ['a query', '/auth/login?as=new'],
    ['an encoded letter', '/auth/%6cogin'],
    ['a doubled slash', '//auth/login'],
    ['a step', '/auth/x/../login'],
    ['capitals', '/Auth/Login'],
  ])('another spelling of a path cannot evade its limit: %s', async (_, path) => {
    const client = clientAt()
    const json = { email: freshEmail(), password }
    const send = () => client(`POST ${path}`, { json })
    const reachesLogin = (await send()).status === 401
    if (reachesLogin) {
      for (let i = 1; i < LIMIT; i++) await client('POST /auth/login', { json })
      expectLimited(await send(), LIMIT, 60)
    } else {
      expectProblem(await send(), 'not_found')
    }
  })
})

describe('unknown_credential', () => {
  test('never refuses or counts a valid credential', async () => {
    const { key } = await newKey(strict, owner.access, { scopes: 'read' })
    const client = clientAt()
    for (let i = 0; i < LIMIT; i++)
      expectProblem(await client('GET /protected/any', { apiKey: 'guess' }), 'invalid_token')
    for (let i = 0; i < 10; i++) {
      expectLimited(await client('GET /protected/any', { apiKey: 'guess' }), LIMIT, 60)
      expect((await client('GET /protected/service-only', { apiKey: key })).status).toBe(200)
      expect((await client('GET /protected/user-only', { bearer: owner.access })).status).toBe(200)
    }
    expect((await client('GET /auth/me', { apiKey: key })).status).toBe(200)
    const another = clientAt()
    for (let i = 0; i < 10; i++) await another('GET /protected/any', { apiKey: key })
    for (let i = 0; i < LIMIT; i++) expect((await another('GET /protected/any')).status).toBe(401)
    expectLimited(await another('GET /protected/any'), LIMIT, 60)
  })
})

describe('not limited are', () => {
  test.each(['/health', '/livez', '/readyz'])(
    '%s, also for a client that used up every limit',
    async (path) => {
      const client = clientAt()
      for (let i = 0; i <= LIMIT; i++) await client('GET /')
      expectLimited(await client('GET /'), LIMIT, 60)
      for (let i = 0; i < 5 * LIMIT; i++) {
        const answer = await client(`GET ${path}`)
        expect(answer.status).toBe(200)
        expect(answer.headers.has('ratelimit-limit')).toBe(false)
      }
    },
  )

  test('/protected/* with a valid credential, whose requests do not count for the limit of other routes', async () => {
    const { key } = await newKey(strict, owner.access, { scopes: 'read' })
    const client = clientAt()
    for (let i = 0; i < 5 * LIMIT; i++) {
      for (const answer of [
        await client('GET /protected/service-only', { apiKey: key }),
        await client('GET /protected/any', { bearer: owner.access }),
      ]) {
        expect(answer.status).toBe(200)
        expect(answer.headers.has('ratelimit-limit')).toBe(false)
      }
    }
    for (let i = 0; i < LIMIT; i++) expect((await client('GET /')).status).toBe(200)
    expectLimited(await client('GET /'), LIMIT, 60)
  })

  test('all routes with RATE_LIMITS=off', async () => {
    const off = await startService({ rateLimits: null, trustedProxies: ['127.0.0.1/32'] }, usual)
    try {
      const client = clientAt(undefined, off)
      for (let i = 0; i < 80; i++) {
        for (const answer of [
          await client('GET /'),
          await client('POST /auth/refresh', { json: { refresh_token: 'rt_x' } }),
          await client('GET /protected/any', { apiKey: 'guess' }),
        ]) {
          expect(answer.status).not.toBe(429)
          expect(answer.headers.has('ratelimit-limit')).toBe(false)
        }
      }
    } finally {
      await off.stop()
    }
  })
})

describe('/oauth/token', () => {
  const grants = {
    login: {
      twin: (as: ReturnType<typeof clientAt>) =>
        as('POST /auth/login', { json: { email: freshEmail(), password } }),
      grant: (as: ReturnType<typeof clientAt>) =>
        as('POST /oauth/token', { form: { grant_type: 'password', username: freshEmail(), password } }),
    },
    refresh: {
      twin: (as: ReturnType<typeof clientAt>) =>
        as('POST /auth/refresh', { json: { refresh_token: 'rt_x' } }),
      grant: (as: ReturnType<typeof clientAt>) =>
        as('POST /oauth/token', { form: { grant_type: 'refresh_token', refresh_token: 'rt_x' } }),
    },
  }

  test.each(Object.entries(grants))(
    'shares the limit %s with its twin under /auth',
    async (_, { twin, grant }) => {
      const client = clientAt()
      expect((await twin(client)).status).toBe(401)
      expect((await grant(client)).status).toBe(400)
      expect((await twin(client)).status).toBe(401)
      const refused = await grant(client)
      expect(refused.status).toBe(429)
      expect(refused.headers.get('content-type')).toStartWith('application/json')
      expect(refused.body).toEqual({
        error: 'temporarily_unavailable',
        error_description: expect.any(String),
      })
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(30)
      expect(refused.headers.get('ratelimit-limit')).toBe(String(LIMIT))
      expectLimited(await twin(client), LIMIT, 60)
      expect((await grant(clientAt())).status).toBe(400)
    },
  )

  test.each<[string, number, Call]>([
    ['of another type', 415, { raw: '{}', headers: JSON_TYPE }],
    ['without a grant type', 400, { form: { username: 'x' } }],
    ['with an unknown grant type', 400, { form: { grant_type: 'implicit' } }],
    [
      'with a parameter twice',
      400,
      {
        raw: 'grant_type=password&grant_type=password',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      },
    ],
  ])('counts a request %s', async (_, status, options) => {
    const client = clientAt()
    const answers: number[] = []
    for (let i = 0; i <= LIMIT; i++) answers.push((await client('POST /oauth/token', options)).status)
    expect(answers.slice(0, 1)).toEqual([status])
    expect(answers.at(-1)).toBe(429)
  })
})

describe('one client is', () => {
  /** Two values of X-Forwarded-For, and whether both count as one client. */
  async function shareLimit(first: string, second: string): Promise<boolean> {
    for (let i = 0; i < LIMIT; i++) expect((await clientAt(first)('GET /')).status).toBe(200)
    expect((await clientAt(first)('GET /')).status).toBe(429)
    return (await clientAt(second)('GET /')).status === 429
  }

  test.each<[string, string, string, boolean]>([
    ['IPv6 addresses of one /64', '2001:db8:1:1::1', '2001:db8:1:1:ffff:ffff:ffff:ffff', true],
    ['an IPv6 address in two spellings', '2001:db8:1:2::1', '2001:0DB8:0001:0002:0:0:0:1', true],
    ['IPv6 addresses of two /64', '2001:db8:1:3::1', '2001:db8:1:4::1', false],
    ['IPv4 and the same mapped into IPv6', '203.0.113.10', '::ffff:203.0.113.10', true],
    [
      'mapped addresses, which share a /64 and nothing else',
      '::ffff:203.0.113.11',
      '::ffff:203.0.113.12',
      false,
    ],
    ['neighbours in IPv4', '203.0.113.13', '203.0.113.14', false],
    [
      'one client behind two addresses of its own choice',
      '9.9.9.1, 203.0.113.15',
      '9.9.9.2, 203.0.113.15',
      true,
    ],
    ['one client behind another proxy of ours', '203.0.113.16, 10.1.2.3', '203.0.113.16', true],
    ['one client and a header full of ours', '203.0.113.17, 10.1.2.3, 127.0.0.1', '203.0.113.17', true],
    ['two clients behind the same proxy of ours', '203.0.113.18, 10.1.2.3', '203.0.113.19, 10.1.2.3', false],
    ['clients with malformed addresses', 'unknown', 'not an address', true],
    ['a client and entries that it forges', '8.8.8.8, garbage, 203.0.113.20', '8.8.4.4, 203.0.113.20', true],
  ])('%s: %p and %p', async (_, first, second, isShared) => {
    expect(await shareLimit(first, second)).toBe(isShared)
  })

  test('X-Forwarded-For is ignored where the peer is no trusted proxy, with one warning', async () => {
    const direct = await startService({ rateLimits: everyLimit({ limit: LIMIT, windowSeconds: 60 }) }, usual)
    try {
      for (let i = 0; i < LIMIT; i++)
        expect((await clientAt(freshAddress(), direct)('GET /')).status).toBe(200)
      for (let i = 0; i < 5; i++) expectLimited(await clientAt(freshAddress(), direct)('GET /'), LIMIT, 60)
      const lines = direct.logged()
      expect(lines.filter(({ level }) => level === 'warn')).toMatchObject([
        { peer: '127.0.0.1', message: expect.stringContaining('TRUSTED_PROXIES') },
      ])
      for (const line of lines.filter(({ message }) => message === 'request'))
        expect(line.client).toBe('127.0.0.1')
    } finally {
      await direct.stop()
    }
  })
})
