import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createRemoteJWKSet, customFetch, jwtVerify } from 'jose'
import postgres from 'postgres'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { revokeSigningKey, rotateIfDue, rotateSigningKey } from '../../src/core/signing/signing-keys.ts'
import { recallCredential } from '../../src/core/verify/verify-credential.ts'
import { DAY_MS, MINUTE_MS, SECOND_MS } from '../../src/lib/time.ts'
import { addApi } from '../support/apps.ts'
import { call, logIn, newKey, newPerson, type Person } from '../support/client.ts'
import { assemble, ownSigner, partsOf } from '../support/forge.ts'
import { expectProblem } from '../support/problem.ts'
import { refresh } from '../support/refresh.ts'
import { startService, type TestService } from '../support/service.ts'
import { kidOf, kidsThatAre, publishedKids, statesOf } from '../support/signing.ts'
import { until } from '../support/until.ts'

setDefaultTimeout(240_000)

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const KEY_TYPE = 'urn:latchkey:token-type:api_key'

const me = (service: TestService, bearer: string) => call(service, 'GET /auth/me', { bearer })
const freshToken = async (service: TestService, { email, password }: Person) =>
  (await logIn(service, email, password)).access
const publishes = (service: TestService, kids: readonly string[]) =>
  until(async () => Bun.deepEquals(await publishedKids(service), kids), `publishes ${kids.length} keys`, 1000)

/** Two servers on one database with the same injected clock. */
async function twoServers(overrides = {}) {
  const one = await startService(overrides)
  const two = await startService(overrides, one)
  const person = await newPerson(one)
  const sql = postgres(one.databaseUrl, { max: 1 })
  return {
    one,
    two,
    both: [one, two] as const,
    person,
    sql,
    advance(ms: number) {
      one.advance(ms)
      two.advance(ms)
    },
    /** Rotates, and waits until both servers have read the next key. */
    async rotate(): Promise<string> {
      const { id } = await rotateSigningKey(one.context, SYSTEM)
      for (const server of [one, two]) {
        await until(async () => (await publishedKids(server)).includes(id), 'the next key is published', 1000)
      }
      return id
    },
    async [Symbol.asyncDispose]() {
      await sql.end()
      await two.stop()
      await one.stop()
    },
  }
}

describe('rotation', () => {
  test('the next key is published 300 s before it signs, and the old key is published until its last token expires', async () => {
    await using at = await twoServers()
    const { one, two, both, person } = at
    const [old = ''] = await publishedKids(one)
    const first = await freshToken(one, person)
    const signAsOld = await ownSigner(one)

    const startedAt = one.context.clock()
    const { id: next, signs_from } = await rotateSigningKey(two.context, SYSTEM)
    expect(new Date(signs_from).getTime() - startedAt).toBeWithin(300_000, 305_000)
    for (const server of both) await publishes(server, [old, next])
    expect(await statesOf(one)).toEqual({ [old]: 'current', [next]: 'next' })

    at.advance(294 * SECOND_MS)
    const last = await freshToken(one, person)
    for (const token of [last, await freshToken(two, person)]) expect(kidOf(token)).toBe(old)

    at.advance(11 * SECOND_MS)
    for (const server of both) {
      const token = await freshToken(server, person)
      expect(kidOf(token)).toBe(next)
      for (const other of both) {
        expect((await me(other, token)).status).toBe(200)
        expect((await me(other, first)).status).toBe(200)
      }
      expect(await statesOf(server)).toEqual({ [old]: 'retiring', [next]: 'current' })
    }

    // The last token of the old key expires half an hour after that.
    at.advance(30 * MINUTE_MS - 20 * SECOND_MS)
    for (const server of both) {
      expectProblem(await me(server, first), 'invalid_token')
      expect((await me(server, last)).status).toBe(200)
      await publishes(server, [old, next])
    }

    // A token for a resource may last an hour.
    at.advance(30 * MINUTE_MS)
    for (const server of both) await publishes(server, [old, next])
    // A later token of the old key can only come from a thief.
    const { header, payload } = partsOf(last)
    const forged = assemble(header, { ...payload, exp: Number(payload.exp) + 86_400 }, signAsOld)
    expect((await me(one, forged)).status).toBe(200)
    at.advance(2 * MINUTE_MS)
    for (const server of both) {
      for (const token of [last, forged]) expectProblem(await me(server, token), 'invalid_token')
      await publishes(server, [next])
      expect(await statesOf(server)).toEqual({ [old]: 'retired', [next]: 'current' })
    }
  })

  test('a token for a resource with the longest lifetime is accepted until it ends', async () => {
    await using at = await twoServers()
    const { one, both, person, sql } = at
    const api = await addApi(sql, {
      lifetime: 3600,
      scopes: [{ name: 'read', description: 'Read', grantable_by: 'everyone' }],
    })
    const { key } = await newKey(one, person.access, { scopes: 'read' })
    await at.rotate()
    at.advance(299 * SECOND_MS)
    const form = {
      grant_type: TOKEN_EXCHANGE,
      subject_token: key,
      subject_token_type: KEY_TYPE,
      resource: api.identifier,
    }
    const { body } = await call(one, 'POST /oauth/token', { form })
    expect(body.expires_in).toBe(3600)
    const [old] = await publishedKids(one)
    expect(kidOf(body.access_token)).toBe(old as string)
    const reaches = async () =>
      Promise.all(
        both.map(
          async (server) =>
            (await call(server, `GET /forward-auth?resource=${api.slug}`, { bearer: body.access_token }))
              .status,
        ),
      )
    at.advance(59 * MINUTE_MS)
    expect(await reaches()).toEqual([200, 200])
    at.advance(2 * MINUTE_MS)
    expect(await reaches()).toEqual([401, 401])
  })

  test('a client that caches the JWKS for 300 s verifies tokens of the next key without another request', async () => {
    await using at = await twoServers()
    const next = await at.rotate()

    let fetched = 0
    const jwks = createRemoteJWKSet(new URL(`${at.two.url}/.well-known/jwks.json`), {
      [customFetch]: (...request: Parameters<typeof fetch>) => {
        fetched++
        return fetch(...request)
      },
    })
    const verify = (token: string) =>
      jwtVerify(token, jwks, {
        issuer: at.one.config.publicUrl,
        currentDate: new Date(at.one.context.clock()),
      })
    const before = await freshToken(at.one, at.person)
    expect((await verify(before)).protectedHeader.kid).not.toBe(next)
    at.advance(301 * SECOND_MS)
    const after = await freshToken(at.one, at.person)
    expect((await verify(after)).protectedHeader.kid).toBe(next)
    expect((await verify(before)).payload.sub).toBe(at.person.id)
    expect(fetched).toBe(1)
  })

  test('the JWKS needs no credential, may be cached, and has only public members', async () => {
    await using at = await twoServers()
    await at.rotate()
    for (const headers of [{}, { authorization: 'Bearer expired' }, { authorization: 'Basic eDp5' }]) {
      const answer = await call(at.one, 'GET /.well-known/jwks.json', { headers })
      expect(answer.status).toBe(200)
      expect(answer.headers.get('cache-control')).toBe('public, max-age=300')
      expect(answer.headers.get('content-type')).toStartWith('application/json')
      expect(answer.body.keys.map((key: object) => Object.keys(key).sort())).toEqual(
        Array(2).fill(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']),
      )
    }
  })

  test('a second rotation while the next key waits is refused on every server, and each rotation is audited once', async () => {
    await using at = await twoServers()
    const id = await at.rotate()
    for (const server of at.both) {
      await expect(rotateSigningKey(server.context, SYSTEM)).rejects.toMatchObject({ problem: 'conflict' })
    }
    at.advance(301 * SECOND_MS)
    await rotateSigningKey(at.two.context, SYSTEM)
    const events = await at.sql`
      SELECT action, actor_type, target_type, target_id, details FROM latchkey.audit_events
      WHERE action LIKE 'signing_key.%' ORDER BY id`
    expect(events.map(({ action }) => action)).toEqual([
      'signing_key.created',
      'signing_key.rotated',
      'signing_key.rotated',
    ])
    expect(events[1]).toMatchObject({
      actor_type: 'system',
      target_type: 'signing_key',
      target_id: id,
      details: { algorithm: 'ES256' },
    })
  })
})

describe('rotation by age', () => {
  test.each([
    ['SIGNING_KEY_ROTATION_DAYS', { signingKeyRotationDays: 30 }, 30],
    ['its default', {}, 90],
  ])('the signing key is rotated after %s, once', async (_, overrides, days) => {
    await using at = await twoServers(overrides)
    const [first = ''] = await publishedKids(at.one)
    const round = async () => {
      for (const server of at.both) await rotateIfDue(server.context)
    }
    at.advance(days * DAY_MS - MINUTE_MS)
    await round()
    expect(await statesOf(at.one)).toEqual({ [first]: 'current' })

    at.advance(MINUTE_MS)
    await round()
    await round()
    const [second = '', ...others] = await kidsThatAre(at.one, 'next')
    expect(others).toEqual([])
    expect(await statesOf(at.two)).toEqual({ [first]: 'current', [second]: 'next' })
    for (const server of at.both) await publishes(server, [first, second])

    at.advance(301 * SECOND_MS)
    expect(kidOf(await freshToken(at.two, at.person))).toBe(second)
    at.advance(days * DAY_MS - 2 * MINUTE_MS)
    await round()
    expect(await statesOf(at.one)).toEqual({ [first]: 'retired', [second]: 'current' })
    at.advance(2 * MINUTE_MS)
    await round()
    expect(Object.values(await statesOf(at.one)).sort()).toEqual(['current', 'next', 'retired'])
  })
})

describe('several servers', () => {
  const SERVERS = 6
  let owner: TestService
  let sql: postgres.Sql
  beforeAll(async () => {
    // With HS256 the server makes no signing key.
    owner = await startService({ algorithm: 'HS256' })
    sql = postgres(owner.databaseUrl, { max: 1 })
  })
  afterAll(async () => {
    await sql.end()
    await owner.stop()
  })

  /** The key that signs, and expects that it is the same on every server. */
  async function expectOneSigner(servers: readonly TestService[]): Promise<string> {
    const signers = await Promise.all(servers.map((server) => kidsThatAre(server, 'current')))
    const [first = []] = signers
    expect(first).toHaveLength(1)
    for (const others of signers) expect(others).toEqual(first)
    return first[0] ?? ''
  }

  const startMany = () =>
    Promise.all(Array.from({ length: SERVERS }, () => startService({ algorithm: 'ES256' }, owner)))
  const stopAll = (servers: readonly TestService[]) => Promise.all(servers.map((server) => server.stop()))

  test('that start at once on an empty database make one key', async () => {
    for (let round = 0; round < 5; round++) {
      await sql`TRUNCATE latchkey.signing_keys`
      const servers = await startMany()
      const kid = await expectOneSigner(servers)
      expect([...(await sql`SELECT id FROM latchkey.signing_keys`)]).toEqual([{ id: kid }])
      for (const server of servers) expect(await publishedKids(server)).toEqual([kid])
      await stopAll(servers)
    }
  })

  test('that find the key due at once make one next key, while others start', async () => {
    await sql`TRUNCATE latchkey.signing_keys`
    const servers = await startMany()
    for (let round = 1; round <= 20; round++) {
      for (const server of servers) server.advance(90 * DAY_MS + 301 * SECOND_MS)
      const [, , ...started] = await Promise.all([
        ...servers.flatMap(({ context }) => [rotateIfDue(context), rotateIfDue(context)]),
        ...(round % 10 === 0 ? [startService({ algorithm: 'ES256' }, owner)] : []),
      ])
      for (const extra of started) if (extra) await extra.stop()
      const keys = await sql`SELECT id FROM latchkey.signing_keys`
      expect(keys).toHaveLength(round + 1)
      await expectOneSigner(servers)
    }
    await stopAll(servers)
  })

  test('that all rotate or revoke at once: one of them does, and one key signs', async () => {
    await sql`TRUNCATE latchkey.signing_keys`
    const servers = await startMany()
    for (let round = 1; round <= 20; round++) {
      const current = await expectOneSigner(servers)
      const isRevocation = round % 2 === 0
      const attempts = await Promise.allSettled(
        servers.map(({ context }) =>
          isRevocation ? revokeSigningKey(context, SYSTEM, current) : rotateSigningKey(context, SYSTEM),
        ),
      )
      expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      for (const attempt of attempts) {
        if (attempt.status === 'rejected')
          expect(attempt.reason).toMatchObject({ problem: isRevocation ? 'not_found' : 'conflict' })
      }
      const after = await expectOneSigner(servers)
      expect(after === current).toBe(!isRevocation)
    }
    await stopAll(servers)
  })

  test('with one late clock: that server makes no second key, and its tokens are accepted', async () => {
    await sql`TRUNCATE latchkey.signing_keys`
    const ahead = await startService({ algorithm: 'ES256' }, owner)
    await sql`UPDATE latchkey.signing_keys SET signs_from = signs_from + interval '20 seconds'`
    const behind = await startService({ algorithm: 'ES256' }, owner)
    expect(await sql`SELECT id FROM latchkey.signing_keys`).toHaveLength(1)
    const person = await newPerson(behind)
    for (const server of [behind, ahead]) expect((await me(server, person.access)).status).toBe(200)
    await stopAll([ahead, behind])
  })
})

describe('revocation', () => {
  test('of the signing key: its tokens are refused at once on every server and after a restart, and another key signs', async () => {
    await using at = await twoServers()
    const { one, two, person } = at
    const kid = kidOf(person.access)
    for (const server of at.both) expect((await me(server, person.access)).status).toBe(200)

    await revokeSigningKey(one.context, SYSTEM, kid)
    // Before an eviction from the database can arrive.
    expect(recallCredential(one.context, person.access)).toBeNull()
    expect(one.context.signing.publicKeys().map((key) => key.kid)).not.toContain(kid)
    expectProblem(await me(one, person.access), 'invalid_token')
    const anew = await freshToken(one, person)
    expect(kidOf(anew)).not.toBe(kid)
    expect((await me(one, anew)).status).toBe(200)
    expect(await publishedKids(one)).toEqual([kidOf(anew)])
    expect(await statesOf(one)).toEqual({ [kid]: 'revoked', [kidOf(anew)]: 'current' })

    await until(async () => (await me(two, person.access)).status === 401, 'refused there too', 1000)
    await publishes(two, [kidOf(anew)])
    expect((await me(two, anew)).status).toBe(200)
    expect(kidOf(await freshToken(two, person))).toBe(kidOf(anew))

    const restarted = await startService({}, one)
    expectProblem(await me(restarted, person.access), 'invalid_token')
    expect((await me(restarted, anew)).status).toBe(200)
    await restarted.stop()

    // Sessions stay valid, because the key was lost and not a password.
    const traded = await refresh(two, person.refresh)
    expect(traded.status).toBe(200)
    expect((await me(one, traded.body.access_token)).status).toBe(200)
    const events = await at.sql`
      SELECT action FROM latchkey.audit_events WHERE target_id = ${kid} ORDER BY id`
    expect(events.map(({ action }) => action)).toEqual(['signing_key.created', 'signing_key.revoked'])
  })

  test('while the next key waits: the next key signs at once', async () => {
    await using at = await twoServers()
    const current = kidOf(at.person.access)
    const next = await at.rotate()
    await revokeSigningKey(at.one.context, SYSTEM, current)
    expect(await statesOf(at.one)).toEqual({ [current]: 'revoked', [next]: 'current' })
    expect(kidOf(await freshToken(at.one, at.person))).toBe(next)
  })

  test('of a key that does not sign keeps the tokens of the other keys valid', async () => {
    await using at = await twoServers()
    const { one, person } = at
    const old = kidOf(person.access)
    const second = await at.rotate()
    at.advance(301 * SECOND_MS)
    const token = await freshToken(one, person)
    expect(kidOf(token)).toBe(second)
    const third = await at.rotate()

    await revokeSigningKey(one.context, SYSTEM, old)
    await revokeSigningKey(one.context, SYSTEM, third)
    expectProblem(await me(one, person.access), 'invalid_token')
    expect((await me(one, token)).status).toBe(200)
    expect(await statesOf(one)).toEqual({ [old]: 'revoked', [second]: 'current', [third]: 'revoked' })
    // The next key is gone, so the present key continues to sign.
    at.advance(DAY_MS)
    expect(kidOf(await freshToken(one, person))).toBe(second)
    await publishes(one, [second])
  })

  test('makes a new key, and never reuses a retired one', async () => {
    await using at = await twoServers()
    const { one, person } = at
    const retired = kidOf(person.access)
    const signAsRetired = await ownSigner(one)
    const second = await at.rotate()
    at.advance(DAY_MS)
    const { header, payload } = partsOf(await freshToken(one, person))
    const forged = assemble({ ...header, kid: retired }, payload, signAsRetired)
    expectProblem(await me(one, forged), 'invalid_token')

    await revokeSigningKey(one.context, SYSTEM, second)
    const token = await freshToken(one, person)
    expect([retired, second]).not.toContain(kidOf(token))
    for (const server of at.both) {
      await publishes(server, [kidOf(token)])
      expectProblem(await me(server, forged), 'invalid_token')
      expect((await me(server, token)).status).toBe(200)
    }
  })

  test('of an unknown or a revoked key is refused and changes nothing', async () => {
    await using at = await twoServers()
    const kid = kidOf(at.person.access)
    for (const wrong of ['', 'nonsense', "' OR true --", kid.toUpperCase(), `${kid} `]) {
      await expect(revokeSigningKey(at.one.context, SYSTEM, wrong)).rejects.toMatchObject({
        problem: 'not_found',
      })
    }
    expect(await statesOf(at.one)).toEqual({ [kid]: 'current' })
    await revokeSigningKey(at.one.context, SYSTEM, kid)
    await expect(revokeSigningKey(at.two.context, SYSTEM, kid)).rejects.toMatchObject({
      problem: 'not_found',
    })
    expect(Object.values(await statesOf(at.one)).sort()).toEqual(['current', 'revoked'])
  })
})
