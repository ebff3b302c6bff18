import { afterAll, beforeAll, beforeEach, describe, expect, setSystemTime, spyOn, test } from 'bun:test'
import { createSharedAnswers } from '../../client/shared-answers.ts'
import { call, newKey, newPerson, type Person } from '../support/client.ts'
import { freePort } from '../support/free-port.ts'
import { clientOf, describeVerdict, startFront, statusOf, verifierKey } from '../support/latchkey-client.ts'
import { adminToken, newClient, tokenOf } from '../support/oauth.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'

let service: TestService
let person: Person
let ownKey: string
let front: ReturnType<typeof startFront>
beforeAll(async () => {
  service = await startService({ isIssuer: true })
  person = await newPerson(service)
  ownKey = await verifierKey(service)
  front = startFront(service)
})
afterAll(async () => {
  await front.stop()
  await service.stop()
})
beforeEach(() => {
  front.questions.length = 0
  front.instead = null
})

const makeKey = (json: object = {}) => newKey(service, person.access, { scopes: 'read', ...json })
const clientAtFront = (options: object = {}) =>
  clientOf({ url: front.url, issuer: service.url, key: ownKey, ...options })
const creditsOf = async (id: string) =>
  (await call(service, `GET /keys/${id}`, { bearer: person.access })).body.credits.remaining
const times = <T>(count: number, work: () => Promise<T>) => Promise.all(Array.from({ length: count }, work))

describe('the client shares an answer of Latchkey', () => {
  test('between calls at the same time and later ones: one question for a good key, and one for a bad key', async () => {
    const client = clientAtFront()
    const { key } = await makeKey()
    for (const [shownKey, status] of [
      [key, 200],
      ['sk_unknown', 401],
    ] as const) {
      front.questions.length = 0
      const verdicts = await times(20, () => client.bearer(shownKey))
      verdicts.push(await client.bearer(shownKey))
      expect(verdicts.map(statusOf)).toEqual(Array(21).fill(status))
      expect(front.questions).toEqual(['/keys/verify'])
    }
  })

  test('between calls that need different scopes', async () => {
    const client = clientAtFront()
    const { key } = await makeKey()
    expect(statusOf(await client.bearer(key, { scopes: ['read'] }))).toBe(200)
    expect(statusOf(await client.bearer(key, { scopes: ['write'] }))).toBe(403)
    expect(statusOf(await client.bearer(key))).toBe(200)
    expect(front.questions).toHaveLength(1)
  })

  test('and still decides about scopes for each call: a refusal for one scope does not refuse another', async () => {
    const client = clientAtFront()
    const { key } = await makeKey()
    const asked = ['write', 'read', 'write', 'read'].map((scope) => client.bearer(key, { scopes: [scope] }))
    expect((await Promise.all(asked)).map(statusOf)).toEqual([403, 200, 403, 200])
  })

  test('only between calls for the same address', async () => {
    const client = clientAtFront()
    const { key } = await makeKey({ allowed_ips: ['10.0.0.0/8'] })
    const ips = ['10.0.0.1', '11.0.0.1', undefined, '10.0.0.1', '11.0.0.1', undefined]
    const verdicts = await Promise.all(ips.map((ip) => client.bearer(key, { ip })))
    expect(verdicts.map(statusOf)).toEqual([200, 403, 403, 200, 403, 403])
    expect(front.questions).toHaveLength(3)
  })

  test('as a frozen object, so that no caller can change it for the others', async () => {
    const client = clientAtFront()
    const json = { scopes: 'read', metadata: { plan: { name: 'small' } } }
    const { key } = await newKey(service, await adminToken(service), json)
    const principal = await client.bearer(key)
    if (principal.kind !== 'key') throw new Error('No key')
    const changes = [
      () => Object.assign(principal, { keyId: 'other' }),
      () => (principal.scopes as string[]).push('write'),
      () => Object.assign(principal.owner, { id: 'other' }),
      () => Object.assign(principal.metadata?.plan as object, { name: 'large' }),
    ]
    for (const change of changes) expect(change).toThrow(TypeError)
    const refusal = await client.bearer('sk_unknown')
    expect(() => Object.assign(refusal, { status: 200 })).toThrow(TypeError)
  })

  test('not with cacheSeconds 0', async () => {
    const client = clientAtFront({ cacheSeconds: 0 })
    const { key } = await makeKey()
    await times(3, () => client.bearer(key))
    expect(front.questions).toHaveLength(3)
  })
})

describe('each use of a key with credits or a limit is counted', () => {
  test('credits: uses at the same time and in sequence, to the last credit', async () => {
    const client = clientAtFront()
    const { id, key } = await makeKey({ credits: { remaining: 30 } })
    const verdicts = await times(20, () => client.bearer(key))
    expect(verdicts.map(statusOf)).toEqual(Array(20).fill(200))
    expect(await creditsOf(id)).toBe(10)
    expect(await client.bearer(key, { cost: 9 })).toMatchObject({ credits: { remaining: 1 } })
    expect((await times(3, () => client.bearer(key))).map(statusOf).sort()).toEqual([200, 429, 429])
    expect(describeVerdict(await client.bearer(key))).toMatchObject({
      status: 429,
      body: { code: 'credits_exhausted' },
    })
    const json = { credits: { remaining: 1 } }
    await call(service, `PATCH /keys/${id}`, { bearer: person.access, json })
    expect(statusOf(await client.bearer(key))).toBe(200)
  })

  test('a rate limit of the key', async () => {
    const client = clientAtFront()
    const { key } = await makeKey({ rate_limit: { limit: 3, window_seconds: 60 } })
    const verdicts = await times(5, () => client.bearer(key))
    expect(verdicts.map(statusOf).sort()).toEqual([200, 200, 200, 429, 429])
    const { headers } = describeVerdict(await client.bearer(key))
    expect(Number(headers?.['retry-after'])).toBeWithin(1, 61)
  })

  test('a rate of the owner, which tells the tighter of both', async () => {
    const client = clientAtFront()
    const owner = await newPerson(service)
    const patch = {
      bearer: await adminToken(service),
      json: { rate_limit: { limit: 3, window_seconds: 60 } },
    }
    expect((await call(service, `PATCH /users/${owner.id}`, patch)).status).toBe(200)
    const make = async (json: Record<string, unknown>) =>
      (await newKey(service, owner.access, { scopes: 'read', ...json })).key
    const [free, limited] = [await make({}), await make({ rate_limit: { limit: 2, window_seconds: 30 } })]
    const resetAt = expect.any(Date)
    expect(await client.bearer(free)).toMatchObject({
      rate: null,
      rateLimit: { limit: 3, remaining: 2, resetAt },
    })
    expect(await client.bearer(limited)).toMatchObject({
      rate: { limit: 2, remaining: 1 },
      // As many are left of both: the owner's is reset later.
      rateLimit: { limit: 3, remaining: 1, resetAt },
    })
    // No answer is kept: the owner has one use left.
    const verdicts = await times(4, () => client.bearer(free))
    expect(verdicts.map(statusOf).sort()).toEqual([200, 429, 429, 429])
  })

  test("credits of the key behind a service account's token", async () => {
    const client = clientAtFront()
    const batch = await newClient(service, await adminToken(service), ['read'], { credits: { remaining: 2 } })
    const token = await tokenOf(service, batch)
    const verdicts = await times(3, () => client.bearer(token))
    expect(verdicts.map(statusOf).sort()).toEqual([200, 200, 429])
  })

  test('and a request that is refused is not charged', async () => {
    const client = clientAtFront()
    const { id, key } = await makeKey({ credits: { remaining: 1 }, allowed_ips: ['10.0.0.0/8'] })
    const ip = '10.0.0.1'
    for (const question of [
      { ip, scopes: ['write'] },
      { ip: '11.0.0.1' },
      { ip, kind: 'user' },
      { ip, role: 'admin' },
    ] as const) {
      expect(statusOf(await client.bearer(key, question))).toBe(403)
    }
    expect(await creditsOf(id)).toBe(1)
    expect(statusOf(await client.bearer(key, { ip, scopes: ['read'] }))).toBe(200)
  })
})

describe('the issuer', () => {
  const METADATA = '/.well-known/oauth-authorization-server'

  test('is read once from the metadata, whatever the URL of Latchkey is', async () => {
    const client = clientOf({ url: front.url })
    const verdicts = await times(20, () => client.bearer(person.access))
    verdicts.push(await client.bearer(person.access))
    expect(verdicts.map(statusOf)).toEqual(Array(21).fill(200))
    expect(front.questions.filter((path) => path === METADATA)).toHaveLength(1)
    expect(client.errors).toEqual([])
  })

  test('that cannot be read: 503, and the next call reads it again', async () => {
    for (const instead of [
      () => new Response('', { status: 500 }),
      () => Response.json(null),
      () => Response.json({ issuer: 1 }),
      () => Response.json({ issuer: '' }),
    ]) {
      const client = clientOf({ url: front.url })
      front.instead = instead
      expect(statusOf(await client.bearer(person.access))).toBe(503)
      expect(client.errors).toHaveLength(1)
      front.instead = null
      expect(statusOf(await client.bearer(person.access))).toBe(200)
    }
  })

  test('or the audience differs from the options: 401, and `onError` gets both names, for genuine tokens only', async () => {
    const said = 'https://id.example.com'
    for (const [options, sentence] of [
      [{ issuer: said }, `The token's issuer is ${service.url}, this client expects ${said}`],
      [{ audience: said }, `The token's audience is ${service.url}, this client expects ${said}`],
    ] as const) {
      const client = clientOf({ url: front.url, ...options })
      expect(statusOf(await client.bearer(person.access))).toBe(401)
      expect(client.errors).toEqual([new Error(sentence)])
      const [head, payload] = person.access.split('.')
      expect(statusOf(await client.bearer(`${head}.${payload}.AAAA`))).toBe(401)
      expect(client.errors).toHaveLength(1)
    }
  })
})

describe('a refusal by Latchkey', () => {
  const heard = async (client: ReturnType<typeof clientOf>, token: string) => {
    expect(statusOf(await client.bearer(token))).toBe(503)
    return client.errors.map(String)
  }

  test("of the client's own key for want of a scope: `onError` gets the scope", async () => {
    const { key } = await makeKey()
    const { key: powerless } = await makeKey()
    expect(await heard(clientOf({ url: service.url, key: powerless }), key)).toEqual([
      'Error: Latchkey answered 403 to POST /keys/verify: Missing required scope: latchkey:verify',
    ])
    const online = clientOf({ url: service.url, key: powerless, online: true })
    expect(await heard(online, person.access)).toEqual([
      'Error: Latchkey answered 403 to POST /oauth/introspect: Missing required scope: latchkey:introspect',
    ])
  })

  test("of the client's own key as invalid or for its address: `onError` gets the reason", async () => {
    const { key } = await makeKey()
    expect(await heard(clientOf({ url: service.url, key: 'sk_gone' }), key)).toEqual([
      'Error: Latchkey answered 401 to POST /keys/verify: The credential is not valid, or no longer.',
    ])
    const scopes = ['latchkey:verify']
    const bound = await newKey(service, await adminToken(service), { scopes, allowed_ips: ['10.0.0.0/8'] })
    expect(await heard(clientOf({ url: service.url, key: bound.key }), key)).toEqual([
      'Error: Latchkey answered 403 to POST /keys/verify: This key may not be used from this address.',
    ])
  })

  test('by another server: `onError` gets nothing of its answer', async () => {
    const { key } = await makeKey()
    for (const type of ['application/json', 'application/problem+json', 'text/plain']) {
      const client = clientAtFront()
      front.instead = async (request) =>
        new Response(
          JSON.stringify({ detail: `${request.headers.get('authorization')} ${await request.text()}` }),
          { status: 403, headers: { 'content-type': type } },
        )
      expect(await heard(client, key)).toEqual(['Error: Latchkey answered 403 to POST /keys/verify'])
    }
  })
})

describe('revocation', () => {
  const revoke = ({ id }: { id: string }) =>
    call(service, `DELETE /keys/revoke/${id}`, { bearer: person.access })

  test('a revoked key is refused when the cached answer expires, and at once without a cache', async () => {
    const made = await makeKey()
    const slow = clientAtFront({ cacheSeconds: 60 })
    const quick = clientAtFront({ cacheSeconds: 0.3 })
    const strict = clientAtFront({ cacheSeconds: 0 })
    const all = [slow, quick, strict]
    for (const client of all) expect(statusOf(await client.bearer(made.key))).toBe(200)
    await revoke(made)
    expect(statusOf(await strict.bearer(made.key))).toBe(401)
    expect(statusOf(await slow.bearer(made.key))).toBe(200)
    await until(async () => statusOf(await quick.bearer(made.key)) === 401, 'the revoked key is refused')
  })

  test('a key is refused when it expires, also while a cached answer exists', async () => {
    const client = clientAtFront({ cacheSeconds: 60 })
    const { key } = await makeKey({ expires_at: new Date(Date.now() + 30_000).toISOString() })
    try {
      for (const [aheadMs, status] of [
        [0, 200],
        [20_000, 200],
        [40_000, 401],
      ] as const) {
        setSystemTime(Date.now() + aheadMs)
        expect(statusOf(await client.bearer(key))).toBe(status)
        setSystemTime()
      }
      expect(front.questions).toHaveLength(2)
    } finally {
      setSystemTime()
    }
  })

  test("a user's token is accepted until it expires; with `online` it is refused when its session ends", async () => {
    const { access } = await newPerson(service)
    const offline = clientAtFront()
    const online = clientAtFront({ online: true, cacheSeconds: 0 })
    for (const client of [offline, online]) expect(statusOf(await client.bearer(access))).toBe(200)
    await call(service, 'POST /auth/logout', { bearer: access })
    expect(statusOf(await offline.bearer(access))).toBe(200)
    expect(statusOf(await online.bearer(access))).toBe(401)
  })

  test('with `online` the role is the present one', async () => {
    const admin = await adminToken(service)
    const other = await adminToken(service)
    const online = clientAtFront({ online: true, cacheSeconds: 0 })
    const { body } = await call(service, 'GET /auth/me', { bearer: other })
    expect(statusOf(await online.bearer(other, { role: 'admin' }))).toBe(200)
    await call(service, `PATCH /users/${body.id}`, { bearer: admin, json: { role: 'user' } })
    expect(statusOf(await online.bearer(other, { role: 'admin' }))).not.toBe(200)
  })
})

describe('without a valid answer of Latchkey every request is refused', () => {
  const answers: [string, () => Response | Promise<Response>][] = [
    ['500', () => new Response('', { status: 500 })],
    ['503', () => new Response('', { status: 503 })],
    ['429', () => new Response('', { status: 429 })],
    ['403, for want of latchkey:verify', () => new Response('', { status: 403 })],
    ['a redirect', () => new Response('', { status: 307, headers: { location: '/elsewhere' } })],
    ['no JSON', () => new Response('VALID')],
    ['null', () => Response.json(null)],
    ['another answer', () => Response.json({ ok: true })],
    [
      'an answer without credits',
      () => Response.json({ valid: true, code: 'VALID', scopes: [], rate_limit: null }),
    ],
    [
      'an answer without a rate limit',
      () => Response.json({ valid: true, code: 'VALID', scopes: [], credits: null }),
    ],
    [
      'an answer without scopes',
      () => Response.json({ valid: true, code: 'VALID', credits: null, rate_limit: null }),
    ],
    ['valid with another code', () => Response.json({ valid: true, code: 'REVOKED' })],
    ['a code that is unknown', () => Response.json({ valid: false, code: 'MAYBE' })],
    ['half an answer', () => new Response('{"valid":true', { headers: { 'content-length': '500' } })],
  ]

  test.each(answers)('%s: 503 after one question', async (_, instead) => {
    const client = clientAtFront({ timeLimitMs: 1_000 })
    const { key } = await makeKey()
    front.instead = instead
    const refusal = await client.bearer(key)
    expect(describeVerdict(refusal)).toMatchObject({
      status: 503,
      headers: { 'retry-after': '1' },
      body: { code: 'unavailable' },
    })
    expect(front.questions).toEqual(['/keys/verify'])
    expect(client.errors).toHaveLength(1)
    for (const told of [Bun.inspect(client.errors, { depth: 9 }), JSON.stringify(refusal)]) {
      expect(told).not.toContain(key)
      expect(told).not.toContain(ownKey)
    }
    // A failure is not cached.
    front.instead = null
    expect(statusOf(await client.bearer(key))).toBe(200)
  })

  test('signing keys that cannot be read: 503 for a genuine token', async () => {
    for (const instead of [() => new Response('', { status: 500 }), () => Response.json({ keys: 1 })]) {
      const client = clientAtFront()
      front.instead = instead
      expect(statusOf(await client.bearer(person.access))).toBe(503)
      front.instead = null
      expect(statusOf(await client.bearer(person.access))).toBe(200)
    }
  })

  test('an answer later than timeLimitMs: 503', async () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const client = clientAtFront({ timeLimitMs: 100 })
    front.instead = async () => {
      await promise
      return new Response()
    }
    const { key } = await makeKey()
    expect((await Promise.all([client.bearer(key), client.bearer(person.access)])).map(statusOf)).toEqual([
      503, 503,
    ])
    resolve()
  })

  test('a refused connection is tried again', async () => {
    const port = await freePort()
    const { key } = await makeKey()
    const client = clientOf({ url: `http://127.0.0.1:${port}`, key: ownKey })
    const tries = spyOn(globalThis, 'fetch')
    try {
      const asked = client.bearer(key)
      await until(() => tries.mock.results.length > 0, 'the first try is made')
      await expect(tries.mock.results[0]?.value).rejects.toThrow()
      await using late = startFront(service, port)
      expect(statusOf(await asked)).toBe(200)
      expect(late.questions).toEqual(['/keys/verify'])
    } finally {
      tries.mockRestore()
    }
  })

  test('Latchkey down: a cached answer is used until it expires, and other credentials get 503', async () => {
    const down = await startService({ isIssuer: true })
    const { access } = await newPerson(down)
    const { key } = await newKey(down, access)
    const options = { url: down.url, key: await verifierKey(down), timeLimitMs: 500 }
    const slow = clientOf({ ...options, cacheSeconds: 60 })
    const quick = clientOf({ ...options, cacheSeconds: 0.5 })
    for (const client of [slow, quick]) {
      expect(statusOf(await client.bearer(key))).toBe(200)
      expect(statusOf(await client.bearer(access))).toBe(200)
    }
    await down.stop()
    expect(statusOf(await slow.bearer(key))).toBe(200)
    expect(statusOf(await slow.bearer('sk_other'))).toBe(503)
    await until(async () => statusOf(await quick.bearer(key)) === 503, 'the answer is stale')
    expect(statusOf(await quick.bearer(key))).toBe(503)
    // An access token is verified without Latchkey, if its signing key is known.
    expect(statusOf(await quick.bearer(access))).toBe(200)
    expect(statusOf(await clientOf(options).bearer(access))).toBe(503)
    expect(statusOf(await clientOf({ ...options, online: true }).bearer(access))).toBe(503)
  })
})

describe('the cached answers', () => {
  test('are bounded: the least recently used answer is deleted', async () => {
    const answers = createSharedAnswers(60_000, 3)
    const asked: number[] = []
    const get = (question: number) =>
      answers.get(
        [question],
        async () => asked.push(question),
        () => true,
      )
    for (const question of [1, 2, 3, 1, 4, 5, 1]) await get(question)
    expect([answers.size(), asked]).toEqual([3, [1, 2, 3, 4, 5]])
    await get(2)
    expect(asked).toEqual([1, 2, 3, 4, 5, 2])
  })
})
