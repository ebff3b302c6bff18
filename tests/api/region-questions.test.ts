import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { writeUsage } from '../../src/core/usage/usage.ts'
import { secret } from '../../src/lib/secret.ts'
import { type Answer, call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import type { TestService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { useService, useSql } from '../support/use-service.ts'
import { newHomeKey, startVerifier } from '../support/verifier.ts'

const home = useService()
const sql = useSql(home)
const RATE = { limit: 3, window_seconds: 3600 }

/** What the verifier sent home, and a way to keep home from answering. */
type Sent = { path: string; body: string; authorization: string | null }
const sent: Sent[] = []
let isAway = false
let proxy: ReturnType<typeof Bun.serve>

let homeKey: string
let admin: string
let watcher: string
let verifier: TestService
let local: TestService
beforeAll(async () => {
  homeKey = await newHomeKey(home)
  admin = (await addLoggedIn(home, sql, { role: 'admin' })).access
  watcher = (await newKey(home, admin, { scopes: ['latchkey:verify', 'latchkey:introspect'] })).key
  // Between the verifier and home, so that the tests see what is sent.
  proxy = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    async fetch(request) {
      const path = new URL(request.url).pathname
      const body = await request.text()
      sent.push({ path, body, authorization: request.headers.get('authorization') })
      if (isAway) return new Promise(() => {})
      return fetch(home.url + path, { method: request.method, headers: request.headers, body }).catch(
        () => new Response(null, { status: 502 }),
      )
    },
  })
  const homeUrl = `http://127.0.0.1:${proxy.port}`
  verifier = await startVerifier(home, homeKey, { homeUrl })
  local = await startVerifier(home, homeKey, { homeUrl, regionRateLimits: 'local' })
})
afterAll(async () => {
  await verifier.stop()
  await local.stop()
  await proxy.stop(true)
})

const owner = async () => (await addLoggedIn(home, sql)).access
const verify = (at: TestService, key: string, more: object = {}) =>
  call(at, 'POST /keys/verify', { bearer: watcher, json: { key, ...more } })
const questions = () => sent.filter(({ path }) => path === '/region/verify')
/** Runs `work` while home does not answer. */
const whileAway = async <T>(work: () => Promise<T>): Promise<T> => {
  isAway = true
  try {
    return await work()
  } finally {
    isAway = false
  }
}
const usesOf = async (at: TestService, id: string): Promise<number> => {
  const { items } = (await call(at, `GET /keys/${id}/usage`, { bearer: admin })).body
  return items.reduce((sum: number, { count }: { count: number }) => sum + count, 0)
}

describe('a key with credits', () => {
  test('is charged at home, once for each question, wherever it is presented', async () => {
    const { key, id } = await newKey(home, await owner(), { scopes: ['read'], credits: { remaining: 10 } })
    const answers = [
      await verify(verifier, key, { cost: 2 }),
      await call(verifier, 'POST /verify', { bearer: watcher, json: { credential: key } }),
      await call(verifier, 'GET /forward-auth?scope=read', { apiKey: key }),
      await verify(home, key),
    ]
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200])
    expect([answers[0], answers[1], answers[3]].map((answer) => answer?.body.credits)).toEqual([
      { remaining: 8 },
      { remaining: 7 },
      { remaining: 5 },
    ])
    expect(answers[2]?.headers.get('x-auth-key-id')).toBe(id)
    const spent = await verify(verifier, key, { cost: 6 })
    expect(spent.body).toMatchObject({
      valid: false,
      code: 'CREDITS_EXHAUSTED',
      limited_by: 'key',
      key_id: id,
    })
    // Home records the uses, and the verifier does not report them again.
    await writeUsage(home.context)
    expect(await usesOf(home, id)).toBe(5)
    expect(verifier.context.usage.take().counts.filter(({ keyId }) => keyId === id)).toEqual([])
  })

  test('with a cost of 0 is answered from the copy, and its credits are left out', async () => {
    const { key } = await newKey(home, await owner(), { credits: { remaining: 10 } })
    const before = questions().length
    const { body } = await verify(verifier, key, { cost: 0 })
    expect(body).toMatchObject({ valid: true, owner_credits: null, rate_limit: null })
    expect('credits' in body).toBe(false)
    expect(questions().length).toBe(before)
    // The control: a use that costs something is asked at home.
    await verify(verifier, key)
    expect(questions().length).toBe(before + 1)
  })

  test('of an owner with credits is asked about too', async () => {
    const person = await addLoggedIn(home, sql)
    const { key } = await newKey(home, person.access)
    const json = { credits: { remaining: 5 } }
    const set = await call(home, `PATCH /users/${person.id}`, { bearer: admin, json })
    expect(set.status).toBe(200)
    await until(async () => (await verify(verifier, key)).body.owner_credits !== null, 'the change is heard')
    expect((await verify(verifier, key)).body.owner_credits.remaining).toBeLessThan(5)
  })
})

describe('a question', () => {
  test('names the key by its SHA-256 alone, and what it was presented for', async () => {
    const { key } = await newKey(home, await owner(), { scopes: ['read'], credits: { remaining: 10 } })
    await verify(verifier, key, { scopes: ['read'], cost: 3, ip: '192.0.2.7' })
    const last = questions().at(-1)
    expect(JSON.parse(last?.body ?? '')).toEqual({
      credential: { hash: new Bun.CryptoHasher('sha256').update(key).digest('hex') },
      entry_point: 'keys_verify',
      scopes: ['read'],
      cost: 3,
      ip: '192.0.2.7',
      counts_rate: true,
    })
    expect(last?.authorization).toBe(`Bearer ${homeKey}`)
    expect(sent.some(({ body }) => body.includes(key))).toBe(false)
  })

  test('about a token of a service account names the ids of the token', async () => {
    const person = await owner()
    const account = (
      await call(home, 'POST /service-accounts', { bearer: person, json: { name: 'a', scopes: ['read'] } })
    ).body.id
    const { key } = await newKey(home, person, {
      service_account_id: account,
      scopes: ['read'],
      rate_limit: RATE,
    })
    const form = { grant_type: 'client_credentials', client_id: account, client_secret: key }
    const token = (await call(home, 'POST /oauth/token', { form })).body.access_token
    const answer = await call(verifier, 'POST /verify', { bearer: watcher, json: { credential: token } })
    expect(answer.body).toMatchObject({
      valid: true,
      subject: account,
      rate_limit: { limit: 3, remaining: 1 },
    })
    const { credential } = JSON.parse(questions().at(-1)?.body ?? '')
    expect(credential.token).toMatchObject({ sub: account, scope: 'read' })
    expect(questions().at(-1)?.body.includes(token.split('.')[2])).toBe(false)
    // A token that is revoked alone is refused by home, whatever the copy says.
    expect((await call(home, 'POST /oauth/revoke', { form: { token } })).status).toBe(200)
    const asked = await call(home, 'POST /region/verify', {
      bearer: homeKey,
      json: { credential, entry_point: 'verify', scopes: [], counts_rate: true },
    })
    expect(asked.body).toEqual({ code: 'REVOKED' })
    // What no token says is no fault of home.
    for (const wrong of [{ exp: Number.MAX_SAFE_INTEGER }, { sid: `urn:uuid:${account}` }, { exp: -1 }]) {
      const json = {
        credential: { token: { ...credential.token, ...wrong } },
        entry_point: 'verify',
        scopes: [],
        counts_rate: true,
      }
      const refused = await call(home, 'POST /region/verify', { bearer: homeKey, json })
      expect([wrong, refused.status]).toEqual([wrong, 422])
    }
  })

  test('is answered 503 by the verifier where home is late, and sent once', async () => {
    const { key } = await newKey(home, await owner(), { credits: { remaining: 10 } })
    expect((await verify(verifier, key)).body.credits).toEqual({ remaining: 9 })
    const before = questions().length
    const [one, proxied, token] = await whileAway(() =>
      Promise.all([
        verify(verifier, key),
        call(verifier, 'GET /forward-auth', { apiKey: key }),
        call(verifier, 'POST /oauth/introspect', { bearer: watcher, form: { token: 'rt_unknown' } }),
      ]),
    )
    expect([one.status, one.body.code]).toEqual([503, 'unavailable'])
    expect(one.headers.get('retry-after')).toBe('1')
    expect([proxied.status, proxied.body.code]).toEqual([503, 'unavailable'])
    // Not a refresh token, so it is answered from the copy.
    expect(token.body).toEqual({ active: false })
    expect(questions().length).toBe(before + 2)
    expect((await verify(verifier, key)).body.credits).toEqual({ remaining: 8 })
  })

  test('is not sent again where home closes the connection without an answer', async () => {
    let received = 0
    const connections = new Set<Socket>()
    // Answers the first question, and takes the others without a word, on the same connection.
    const server = createServer((socket) => {
      connections.add(socket)
      socket.on('error', () => {})
      socket.on('data', (data) => {
        if (!data.toString().includes('POST /region/verify')) return
        received += 1
        if (received > 1) return socket.end()
        const body = JSON.stringify({ code: 'VALID', credits: 1, owner_credits: null, rates: null })
        socket.write(
          `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
        )
      })
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    const other = await startVerifier(home, homeKey, { homeUrl: `http://127.0.0.1:${port}` })
    try {
      const { key } = await newKey(home, await owner(), { credits: { remaining: 10 } })
      expect((await verify(other, key)).body.credits).toEqual({ remaining: 1 })
      expect((await verify(other, key)).status).toBe(503)
      expect(received).toBe(2)
    } finally {
      for (const socket of connections) socket.destroy()
      server.close()
      await other.stop()
    }
  })

  test('of a batch that home does not answer is UNAVAILABLE by itself', async () => {
    const person = await owner()
    const charged = await newKey(home, person, { credits: { remaining: 10 } })
    const plain = await newKey(home, person)
    const json = { keys: [charged, plain, charged].map(({ key }) => ({ key })) }
    const ask = () => call(verifier, 'POST /keys/verify-batch', { bearer: watcher, json })
    const codes = ({ body }: Answer) => body.results.map(({ code }: { code: string }) => code)
    expect(codes(await ask())).toEqual(['VALID', 'VALID', 'VALID'])
    expect(codes(await whileAway(ask))).toEqual(['UNAVAILABLE', 'VALID', 'UNAVAILABLE'])
    expect((await verify(home, charged.key)).body.credits).toEqual({ remaining: 7 })
  })
})

describe('home wins', () => {
  test('where it knows of an end that the copy does not show yet', async () => {
    const person = await owner()
    const { key, id } = await newKey(home, person, { credits: { remaining: 100_000 } })
    const principal = async () => (await verify(verifier, key)).body
    // The verifier no longer hears of changes: its cache stands for a copy that is behind.
    const { cache } = verifier.context
    const { read } = cache
    const hash = new Bun.CryptoHasher('sha256').update(key).digest('base64')
    let remembered: ReturnType<typeof read> = null
    const isRemembered = async () => {
      expect(await principal()).toMatchObject({ valid: true })
      remembered = read(hash)
      return remembered !== null
    }
    await until(isRemembered, 'the key is in the cache')
    cache.read = (asked) => (asked === hash ? remembered : read(asked))
    try {
      await call(home, `DELETE /keys/${id}`, { bearer: person })
      expect(await principal()).toEqual({ valid: false, code: 'REVOKED', key_id: id })
      const proxied = await call(verifier, 'GET /forward-auth', { apiKey: key })
      expect([proxied.status, proxied.body.code]).toEqual([401, 'invalid_token'])
    } finally {
      cache.read = read
    }
  })
})

describe('a key with a rate', () => {
  test('is counted at home together with its uses there', async () => {
    const { key } = await newKey(home, await owner(), { rate_limit: RATE })
    const left = []
    for (const at of [verifier, home, verifier])
      left.push((await verify(at, key, { cost: 0 })).body.rate_limit)
    expect(left.map(({ remaining }) => remaining)).toEqual([2, 1, 0])
    expect(left.map((rate) => 'scope' in rate)).toEqual([false, false, false])
    const refused = await verify(verifier, key)
    expect(refused.body).toMatchObject({ valid: false, code: 'RATE_LIMITED', limited_by: 'key' })
    const proxied = await call(verifier, 'GET /forward-auth', { apiKey: key })
    expect([proxied.status, proxied.headers.get('ratelimit-limit')]).toEqual([429, '3'])
  })

  test('is counted by the region alone with REGION_RATE_LIMITS=local, which the answer says', async () => {
    const { key } = await newKey(home, await owner(), { rate_limit: RATE })
    const before = questions().length
    expect((await verify(home, key)).body.rate_limit).toMatchObject({ remaining: 2 })
    const answers = []
    for (let i = 0; i < 4; i++) answers.push((await verify(local, key)).body)
    expect(answers.map(({ code, rate_limit }) => [code, rate_limit?.remaining, rate_limit?.scope])).toEqual([
      ['VALID', 2, 'region'],
      ['VALID', 1, 'region'],
      ['VALID', 0, 'region'],
      ['RATE_LIMITED', undefined, undefined],
    ])
    expect(questions().length).toBe(before)
    expect((await verify(home, key)).body.rate_limit).toMatchObject({ remaining: 1 })
  })

  test('and with credits is charged at home, which then counts no rate', async () => {
    const { key } = await newKey(home, await owner(), { rate_limit: RATE, credits: { remaining: 10 } })
    const { body } = await verify(local, key)
    expect([body.credits, body.rate_limit]).toEqual([
      { remaining: 9 },
      expect.objectContaining({ remaining: 2, scope: 'region' }),
    ])
    expect((await verify(home, key)).body).toMatchObject({
      credits: { remaining: 8 },
      rate_limit: { remaining: 2 },
    })
    await verify(local, key)
    await verify(local, key)
    // What the region refuses by itself is not charged.
    expect((await verify(local, key)).body.code).toBe('RATE_LIMITED')
    expect((await verify(home, key)).body.credits).toEqual({ remaining: 5 })
  })
})

describe('introspection', () => {
  test('of a refresh token is asked at home; of anything else it is not', async () => {
    const person = await addLoggedIn(home, sql)
    const introspect = (token: string) =>
      call(verifier, 'POST /oauth/introspect', { bearer: watcher, form: { token } })
    const asked = () => sent.filter(({ path }) => path === '/oauth/introspect').length
    const before = asked()
    expect((await introspect(person.access)).body).toMatchObject({ active: true, sub: person.id })
    expect(asked()).toBe(before)
    expect((await introspect(person.refresh)).body).toMatchObject({
      active: true,
      token_kind: 'refresh_token',
      sub: person.id,
    })
    expect(asked()).toBe(before + 1)
    const away = await whileAway(() => introspect(person.refresh))
    expect([away.status, away.body.error]).toEqual([503, 'temporarily_unavailable'])
    await call(home, 'POST /auth/logout', { json: { refresh_token: person.refresh } })
    expect((await introspect(person.refresh)).body).toEqual({ active: false })
  })

  test('at home takes the scope of regions for refresh tokens alone', async () => {
    const person = await addLoggedIn(home, sql)
    const ask = (token: string) => call(home, 'POST /oauth/introspect', { bearer: homeKey, form: { token } })
    expect((await ask(person.refresh)).body.active).toBe(true)
    expect((await ask(person.access)).body.error).toBe('insufficient_scope')
  })
})

describe('without HOME_KEY', () => {
  test('keys that have to be asked about are 503, others are answered, and nothing is sent', async () => {
    let received = 0
    const silent = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch() {
        received += 1
        return new Response(null, { status: 500 })
      },
    })
    const alone = await startVerifier(home, null, { homeUrl: `http://127.0.0.1:${silent.port}` })
    try {
      const person = await owner()
      const plain = await newKey(home, person)
      const charged = await newKey(home, person, { credits: { remaining: 10 } })
      const rated = await newKey(home, person, { rate_limit: RATE })
      expect((await verify(alone, plain.key)).body.valid).toBe(true)
      for (const { key } of [charged, rated])
        expect([key, (await verify(alone, key)).status]).toEqual([key, 503])
    } finally {
      await alone.stop()
      await silent.stop(true)
    }
    // Not at the end either, when the last usage would be sent.
    expect(received).toBe(0)
  })
})

test('a wrong HOME_KEY is 503, and is logged', async () => {
  const wrong = await startVerifier(home, homeKey, { homeKey: secret('sk_wrong-key-of-home') })
  try {
    const { key } = await newKey(home, await owner(), { credits: { remaining: 10 } })
    expect((await verify(wrong, key)).status).toBe(503)
    expect(wrong.loggedText()).toContain('Home answered 401')
  } finally {
    await wrong.stop()
  }
})
