import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { rewrapSecrets } from '../../src/core/second-factors/rewrap.ts'
import { listSigningKeys } from '../../src/core/signing/queries.ts'
import { decrypt } from '../../src/lib/encrypt.ts'
import { type Secret, secret } from '../../src/lib/secret.ts'
import { DAY_MS } from '../../src/lib/time.ts'
import { call, logIn, newPerson, type Person } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { expectProblem } from '../support/problem.ts'
import { refresh } from '../support/refresh.ts'
import { startService, type TestService } from '../support/service.ts'
import { kidOf, kidsThatAre, publishedKids, statesOf } from '../support/signing.ts'
import { until } from '../support/until.ts'

setDefaultTimeout(240_000)

const newSecret = () => secret(randomBytes(48).toString('base64'))
const me = (service: TestService, bearer: string) => call(service, 'GET /auth/me', { bearer })
const WRONG_KEY =
  'SECRET_KEY does not open the stored signing keys: set SECRET_KEY_PREVIOUS to the key that made them'

describe.each(['ES256', 'HS256'] as const)('SECRET_KEY is rotated, with %s', (algorithm) => {
  const [old, next] = [newSecret(), newSecret()]
  /** Before: only the old key. Step 1: both, the old key first. Step 2: both, the new key first. Step 3: only the new key. */
  let before: TestService
  let step1: TestService
  let step2: TestService
  let person: Person
  const start = (secretKey: Secret, secretKeyPrevious: Secret | null = null) =>
    startService({ algorithm, secretKey, secretKeyPrevious }, before)
  beforeAll(async () => {
    before = await startService({ algorithm, secretKey: old })
    step1 = await start(old, next)
    step2 = await start(next, old)
    person = await newPerson(before)
  })
  afterAll(async () => {
    for (const server of [step2, step1, before]) await server.stop()
  })

  /** Trades a refresh token on each server in turn, and expects that every server accepts the new tokens. */
  async function expectToTravel(first: string, through: readonly TestService[]): Promise<string> {
    let token = first
    for (const server of [...through, ...through, ...through]) {
      const traded = await refresh(server, token)
      expect(traded.status).toBe(200)
      for (const other of through) expect((await me(other, traded.body.access_token)).status).toBe(200)
      token = traded.body.refresh_token
    }
    return token
  }

  async function cursorOf(server: TestService): Promise<string> {
    const { access } = await logIn(server, person.email, person.password)
    const page = await call(server, 'GET /auth/sessions?limit=1', { bearer: access })
    return page.body.next_cursor
  }
  const pageAt = async (server: TestService, cursor: string) => {
    const { access } = await logIn(server, person.email, person.password)
    return call(server, `GET /auth/sessions?limit=1&cursor=${cursor}`, { bearer: access })
  }

  test('while servers go from the old key to step 1, sessions and cursors work on all of them', async () => {
    await expectToTravel(person.refresh, [step1, before])
    for (const [from, to] of [[before, step1] as const, [step1, before] as const]) {
      expect((await pageAt(to, await cursorOf(from))).status).toBe(200)
    }
  })

  test('while servers go from step 1 to step 2, sessions and cursors work on all of them', async () => {
    const { refresh: token } = await logIn(step1, person.email, person.password)
    await expectToTravel(token, [step2, step1])
    for (const [from, to] of [[step2, step1] as const, [step1, step2] as const]) {
      expect((await pageAt(to, await cursorOf(from))).status).toBe(200)
    }
  })

  test('without step 1 some tokens are refused, and no session ends', async () => {
    const ahead = await logIn(step2, person.email, person.password)
    expectProblem(await refresh(before, ahead.refresh), 'invalid_token')
    expectProblem(await pageAt(before, await cursorOf(step2)), 'validation_failed')
    expect((await me(before, ahead.access)).status).toBe(algorithm === 'HS256' ? 401 : 200)
    expect((await refresh(step1, ahead.refresh)).status).toBe(200)
  })

  test('after rewrap the new key alone is enough; tokens of the old key are refused, and no session ends', async () => {
    if (algorithm === 'ES256') await expect(start(next)).rejects.toThrow(WRONG_KEY)
    const logins = Array.from({ length: 8 }, (_, i) =>
      logIn(i % 2 === 0 ? step1 : step2, person.email, person.password),
    )
    const kids = await publishedKids(step1)
    expect(await rewrapSecrets(step2.context)).toEqual({ rewrapped: kids.length, totp_secrets: 0 })
    await Promise.all(logins)

    const step3 = await start(next)
    expect(await publishedKids(step3)).toEqual(kids)
    const [byOld, byNew] = [
      await logIn(step1, person.email, person.password),
      await logIn(step2, person.email, person.password),
    ]
    expect((await me(step3, byNew.access)).status).toBe(200)
    expect((await refresh(step3, byNew.refresh)).status).toBe(200)
    expect((await pageAt(step3, await cursorOf(step2))).status).toBe(200)

    expect((await me(step3, byOld.access)).status).toBe(algorithm === 'HS256' ? 401 : 200)
    expectProblem(await refresh(step3, byOld.refresh), 'invalid_token')
    expectProblem(await pageAt(step3, await cursorOf(step1)), 'validation_failed')
    // A server with both keys accepts the token.
    const traded = await refresh(step2, byOld.refresh)
    expect((await refresh(step3, traded.body.refresh_token)).status).toBe(200)
    await step3.stop()
  })

  test('after rewrap servers of every step start, and a server with only the old key does not', async () => {
    for (const [secretKey, previous] of [[old, next] as const, [next, old] as const]) {
      const restarted = await start(secretKey, previous)
      const { access } = await logIn(restarted, person.email, person.password)
      for (const other of [step1, step2]) expect((await me(other, access)).status).toBe(200)
      await restarted.stop()
    }
    if (algorithm === 'HS256') return
    await expect(start(old)).rejects.toThrow(WRONG_KEY)
    // A running server continues with the signing keys that it has read.
    await until(
      () => before.loggedText().includes('Signing keys could not be read again'),
      'the old server has tried to read the keys again',
    )
    const { access } = await logIn(before, person.email, person.password)
    for (const server of [before, step1, step2]) expect((await me(server, access)).status).toBe(200)
  })
})

describe('a SECRET_KEY that did not make the stored signing keys', () => {
  test('stops every start with one sentence, which names the remedy and no key', async () => {
    const owner = await startService()
    const [wrong, right] = [newSecret(), owner.config.secretKey ?? newSecret()]
    const open = (env: Record<string, string>) =>
      runInProcess(['signing-keys', 'list'], { env: { DATABASE_URL: owner.databaseUrl, ...env } })
    try {
      const refused = await open({ SECRET_KEY: wrong.reveal() })
      expect(refused).toEqual({ code: 1, out: '', err: `latchkey: ${WRONG_KEY}\n` })
      const [kid = ''] = await publishedKids(owner)
      const opened = await open({ SECRET_KEY: wrong.reveal(), SECRET_KEY_PREVIOUS: right.reveal() })
      expect(opened).toMatchObject({ code: 0, err: '', out: expect.stringContaining(kid) })
      expect(await statesOf(owner)).toEqual({ [kid]: 'current' })
    } finally {
      await owner.stop()
    }
  })
})

describe('at rest', () => {
  const PUBLIC_MEMBERS = {
    ES256: ['crv', 'kty', 'x', 'y'],
    RS256: ['e', 'kty', 'n'],
    EdDSA: ['crv', 'kty', 'x'],
  }

  test('the database has no private part of a signing key in plain text, and no SECRET_KEY', async () => {
    const owner = await startService({ algorithm: 'HS256' })
    const sql = postgres(owner.databaseUrl, { max: 1 })
    try {
      for (const algorithm of ['ES256', 'RS256', 'EdDSA'] as const) {
        const server = await startService({ algorithm }, owner)
        await newPerson(server)
        await server.stop()
      }
      const tables = await sql<{ name: string }[]>`
        SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'latchkey'`
      expect(tables.length).toBeGreaterThan(5)
      let dump = ''
      for (const { name } of tables) {
        const rows = await sql<{ row: string }[]>`SELECT t::text AS row FROM latchkey.${sql(name)} t`
        dump += rows.map(({ row }) => row).join('\n')
      }
      const isStored = (text: string) =>
        dump.includes(text) || dump.includes(Buffer.from(text).toString('hex'))
      const keys = await listSigningKeys(owner.context.db)
      expect(keys.map(({ algorithm }) => algorithm).sort()).toEqual(['ES256', 'EdDSA', 'RS256'])
      for (const row of keys) {
        expect(Object.keys(row.publicJwk).sort()).toEqual(PUBLIC_MEMBERS[row.algorithm])
        expect(isStored(String(row.publicJwk.x ?? row.publicJwk.n))).toBe(true)
        const opened = decrypt(owner.context.keys.signing, row.id, row.privateKey) ?? '{}'
        const { kty, crv, x, y, n, e, ...privateParts } = JSON.parse(opened)
        expect(Object.keys(privateParts)).toContain('d')
        for (const part of Object.values<string>(privateParts)) {
          expect(isStored(part)).toBe(false)
          expect(dump).not.toContain(Buffer.from(part, 'base64url').toString('hex'))
        }
        // Each ciphertext is bound to its own row, and fails under the label of another row.
        expect(decrypt(owner.context.keys.signing, 'another', row.privateKey)).toBeNull()
      }
      expect(isStored(owner.config.secretKey?.reveal() ?? '')).toBe(false)
    } finally {
      await sql.end()
      await owner.stop()
    }
  })
})

describe('ALGORITHM is changed', () => {
  test('from ES256 to RS256, server by server: each accepts the tokens of the other, and sessions stay valid', async () => {
    const one = await startService({ algorithm: 'ES256', signingKeyRotationDays: 30 })
    const two = await startService({ algorithm: 'RS256', signingKeyRotationDays: 30 }, one)
    try {
      const person = await newPerson(one)
      const { access } = await logIn(two, person.email, person.password)
      expect(kidOf(access)).not.toBe(kidOf(person.access))
      const kids = [kidOf(person.access), kidOf(access)]
      for (const server of [one, two]) {
        await until(async () => (await publishedKids(server)).length === 2, 'both publish both keys')
        expect(await publishedKids(server)).toEqual(kids)
        for (const token of [person.access, access]) expect((await me(server, token)).status).toBe(200)
      }
      expect((await refresh(two, person.refresh)).status).toBe(200)
      expect(await kidsThatAre(one, 'current')).toEqual([kids[0] ?? ''])
      expect(await kidsThatAre(two, 'current')).toEqual([kids[1] ?? ''])

      // The key of the old algorithm is published until it would have been rotated.
      two.advance(30 * DAY_MS)
      expect(await publishedKids(two)).toEqual(kids)
      two.advance(2 * DAY_MS)
      expect(await publishedKids(two)).toEqual(kids.slice(1))
      expect(await statesOf(two)).toMatchObject({ [kids[0] ?? '']: 'retired' })
    } finally {
      await two.stop()
      await one.stop()
    }
  })

  test('to HS256 and back: access tokens end, sessions stay valid, and the JWKS is empty meanwhile', async () => {
    const one = await startService({ algorithm: 'ES256' })
    const two = await startService({ algorithm: 'HS256' }, one)
    try {
      const person = await newPerson(one)
      expectProblem(await me(two, person.access), 'invalid_token')
      expect(await publishedKids(two)).toEqual([])
      const traded = await refresh(two, person.refresh)
      expect((await me(two, traded.body.access_token)).status).toBe(200)
      expectProblem(await me(one, traded.body.access_token), 'invalid_token')
      const back = await refresh(one, traded.body.refresh_token)
      expect((await me(one, back.body.access_token)).status).toBe(200)
      expect((await me(one, person.access)).status).toBe(200)
    } finally {
      await two.stop()
      await one.stop()
    }
  })
})
