import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type postgres from 'postgres'
import { type Answer, call, newKey } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { newClient, tokenOf } from '../support/oauth.ts'
import {
  type AddedPerson,
  addLoggedIn,
  beginSession,
  connectTo,
  PASSWORD,
  type Tokens,
} from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

type Someone = AddedPerson & Tokens

const CHOSEN = 'another passphrase of several words'
const ACCOUNTS_WRITE = 'latchkey:service-accounts.write'

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))

const as = (who: { access: string }, route: string, json?: unknown): Promise<Answer> =>
  call(service, route, { bearer: who.access, json })
const isGood = async (bearer: string) => (await call(service, 'GET /auth/me', { bearer })).status === 200

/** A person with a key, and two service accounts with a key and a token each. */
async function newManager(more: Parameters<typeof addLoggedIn>[2] = {}) {
  const person = await addLoggedIn(service, sql, more)
  const own = await newKey(service, person.access)
  const clients = [await newClient(service, person.access, []), await newClient(service, person.access, [])]
  const tokens = await Promise.all(clients.map((client) => tokenOf(service, client)))
  return { person, own: own.key, clients, held: [...clients.map(({ secret }) => secret), ...tokens] }
}
const goodOf = (credentials: readonly string[]) => Promise.all(credentials.map(isGood))
const named = (clients: readonly { id: string }[]) =>
  clients.map(({ id }) => ({ id, name: 'batch' })).sort((a, b) => (a.id < b.id ? -1 : 1))
const sorted = (accounts: { id: string }[]) => [...accounts].sort((a, b) => (a.id < b.id ? -1 : 1))

describe('revoke_keys', () => {
  const endings: Record<string, (person: Someone) => Promise<unknown>> = {
    'of a new password': async (person) => {
      const json = { current_password: PASSWORD, new_password: CHOSEN, revoke_keys: true }
      expect((await as(person, 'POST /auth/password', json)).status).toBe(200)
    },
    'of a reset': async (person) => {
      const { body } = await as(admin, `POST /users/${person.id}/password-reset`)
      const json = { token: body.token, new_password: CHOSEN, revoke_keys: true }
      expect((await call(service, 'POST /auth/password-reset', { json })).status).toBe(204)
    },
    'of the command line': async (person) => {
      const words = ['users', 'set-password', person.email, '--revoke-keys', '--password-stdin', '--json']
      const { code, out } = await command(words, CHOSEN)
      expect([code, JSON.parse(out).keys_revoked]).toEqual([0, 3])
    },
  }
  test.each(Object.entries(endings))(
    '%s also ends the keys of accounts that only the user manages',
    async (_, end) => {
      const [{ person, own, clients, held }, others] = [await newManager(), await newManager()]
      expect(await goodOf([own, ...held])).not.toContain(false)
      await end(person)
      await expectSoon(() => goodOf([own, ...held]), [false, false, false, false, false])
      expect(await goodOf([others.own, ...others.held])).not.toContain(false)
      // The accounts stay, and their manager can make new keys.
      const again = await beginSession(service, { ...person, ...(await rowOf(person.id)) })
      expect((await newKey(service, again.access, { service_account_id: clients[0]?.id })).key).toBeString()
    },
  )

  test('is off by default: every key stays valid', async () => {
    const { person, own, held } = await newManager()
    const json = { current_password: PASSWORD, new_password: CHOSEN }
    expect((await as(person, 'POST /auth/password', json)).status).toBe(200)
    expect(await goodOf([own, ...held])).not.toContain(false)
  })

  test('ends every key, whatever their number', async () => {
    const { person, clients } = await newManager()
    await sql`INSERT INTO latchkey.api_keys (id, service_account_id, scopes, created_at)
      SELECT gen_random_uuid(), ${clients[0]?.id ?? ''}, '{}', now() FROM generate_series(1, 1500)`
    const json = { current_password: PASSWORD, new_password: CHOSEN, revoke_keys: true }
    expect((await as(person, 'POST /auth/password', json)).status).toBe(200)
    const [row] = await sql`SELECT count(*)::int AS live FROM latchkey.api_keys
      WHERE service_account_id = ${clients[0]?.id ?? ''} AND revoked_at IS NULL`
    expect(row?.live).toBe(0)
  })
})

describe('a user who is disabled or deleted', () => {
  for (const [ending, end] of [
    [
      'disabled',
      (id: string, query: string) => as(admin, `PATCH /users/${id}${query}`, { is_active: false }),
    ],
    ['deleted', (id: string, query: string) => as(admin, `DELETE /users/${id}${query}`)],
  ] as const) {
    test(`${ending}: the answer names the accounts that only they manage, and these stay valid`, async () => {
      const { person, own, clients, held } = await newManager()
      const answer = await end(person.id, '')
      expect(answer.status).toBe(200)
      expect(sorted(answer.body.service_accounts)).toEqual(named(clients))
      expect(await goodOf([own])).toEqual([false])
      expect(await goodOf(held)).not.toContain(false)
    })

    test(`${ending} with ?service_accounts=disable: these accounts are disabled too, and an admin can enable them`, async () => {
      const [{ person, clients, held }, others] = [await newManager(), await newManager()]
      const answer = await end(person.id, '?service_accounts=disable')
      expect(sorted(answer.body.service_accounts)).toEqual(named(clients))
      expect(await goodOf(held)).not.toContain(true)
      expect(await goodOf(others.held)).not.toContain(false)
      if (ending === 'disabled') {
        await as(admin, `PATCH /users/${person.id}`, { is_active: true })
        const back = await beginSession(service, person)
        const enable = [`PATCH /service-accounts/${clients[0]?.id}`, { is_active: true }] as const
        expectProblem(await as(back, ...enable), 'forbidden')
      }
      const ids = clients.map(({ id }) => id)
      const events = await sql`SELECT action, actor_id FROM latchkey.audit_events
        WHERE target_id = ANY (${ids}) AND action = 'service_account.disabled'`
      expect(events.map(({ actor_id }) => actor_id)).toEqual([admin.id, admin.id])
      for (const id of ids)
        expect((await as(admin, `PATCH /service-accounts/${id}`, { is_active: true })).status).toBe(200)
      expect(await goodOf(held)).not.toContain(false)
    })

    test(`${ending}, without an account: the answer names no account`, async () => {
      const person = await addLoggedIn(service, sql)
      expect((await end(person.id, '')).body.service_accounts).toEqual([])
    })

    test(`${ending}: an unknown value is refused, and nothing changes`, async () => {
      const { person, held } = await newManager()
      expectProblem(await end(person.id, '?service_accounts=delete'), 'validation_failed')
      expect(await isGood(person.access)).toBe(true)
      expect(await goodOf(held)).not.toContain(false)
    })
  }

  test('the answer to any other change names no accounts', async () => {
    const { person } = await newManager()
    const { body } = await as(admin, `PATCH /users/${person.id}`, { email_verified: true })
    expect(body).not.toHaveProperty('service_accounts')
  })

  test('a key that manages users may do the same', async () => {
    const { key } = await newKey(service, admin.access, { scopes: ['latchkey:users.write'] })
    const { person, clients, held } = await newManager()
    const route = `PATCH /users/${person.id}?service_accounts=disable`
    const { body } = await call(service, route, { apiKey: key, json: { is_active: false } })
    expect(sorted(body.service_accounts)).toEqual(named(clients))
    expect(await goodOf(held)).not.toContain(true)
  })

  test('at the command line: the accounts are named, and disabled with --disable-service-accounts', async () => {
    const [one, two] = [await newManager(), await newManager()]
    const printed = await command(['users', 'disable', one.person.email])
    expect(printed.code).toBe(0)
    expect(printed.out).toStartWith(
      `${one.person.email} is disabled. Service accounts that they alone manage:\n`,
    )
    for (const { id } of one.clients) expect(printed.out).toContain(id)
    expect(await goodOf(one.held)).not.toContain(false)
    const words = ['users', 'disable', two.person.email, '--disable-service-accounts', '--json']
    const { service_accounts } = JSON.parse((await command(words)).out)
    expect(sorted(service_accounts)).toEqual(named(two.clients))
    await expectSoon(() => goodOf(two.held), [false, false, false, false])
    const alone = await addLoggedIn(service, sql)
    expect((await command(['users', 'disable', alone.id])).out).toBe(`${alone.email} is disabled.\n`)
  })
})

describe('SERVICE_ACCOUNTS_PER_USER', () => {
  let small: TestService
  let watch: postgres.Sql
  /** The number of statements of this database that wait for a lock. */
  const waiting = async () =>
    (
      await watch`SELECT count(*)::int AS n FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'`
    )[0]?.n
  beforeAll(async () => {
    watch = connectTo(service)
    small = await startService({ serviceAccountsPerUser: 2, apiKeysPerOwner: 3 }, service)
  })
  afterAll(async () => {
    await watch.end()
    await small.stop()
  })
  const make = (caller: { bearer?: string; apiKey?: string }, more: Record<string, unknown> = {}) =>
    call(small, 'POST /service-accounts', { ...caller, json: { name: 'batch', scopes: '', ...more } })
  const expectQuota = (answer: Answer, sentence: string) => {
    expectProblem(answer, 'quota_exceeded')
    expect(answer.body.detail).toContain(sentence)
  }

  test('counts the accounts that a person made by a session, also those made at once', async () => {
    const person = await addLoggedIn(small, sql)
    const answers = await Promise.all(Array.from({ length: 6 }, () => make({ bearer: person.access })))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(2)
    for (const answer of answers.filter(({ status }) => status !== 201))
      expectQuota(answer, 'SERVICE_ACCOUNTS_PER_USER allows 2 ')
    const made = answers.find(({ status }) => status === 201)?.body.id
    await call(small, `DELETE /service-accounts/${made}`, { bearer: person.access })
    expect((await make({ bearer: person.access })).status).toBe(201)
  })

  test('does not count accounts that an admin makes, or a key with the scope', async () => {
    const boss = await addLoggedIn(small, sql, { role: 'admin' })
    const person = await addLoggedIn(small, sql, { scopes: [ACCOUNTS_WRITE] })
    const { key } = await newKey(small, person.access, { scopes: ACCOUNTS_WRITE })
    for (const caller of [{ bearer: boss.access }, { apiKey: key }])
      for (let n = 0; n < 4; n++) expect((await make(caller)).status).toBe(201)
    // Accounts that a key makes do not count for its owner.
    expect((await make({ bearer: person.access })).status).toBe(201)
  })

  test('counts for an admin who is demoted while the request is under way', async () => {
    const boss = await addLoggedIn(small, sql, { role: 'admin' })
    for (let n = 0; n < 3; n++) await make({ bearer: boss.access })
    const demoted = sql.begin(async (tx) => {
      await tx`UPDATE latchkey.users SET role = 'user' WHERE id = ${boss.id}`
      const making = make({ bearer: boss.access })
      await until(async () => (await waiting()) > 0, 'the request waits for the demotion')
      return { making }
    })
    const { body } = await (await demoted).making
    const [row] = await sql`SELECT counts_for FROM latchkey.service_accounts WHERE id = ${body.id}`
    expect(row?.counts_for).toBe(boss.id)
  })

  test('does not multiply API_KEYS_PER_OWNER: keys of these accounts count together with the person’s own', async () => {
    const person = await addLoggedIn(small, sql)
    const [one, two] = [await make({ bearer: person.access }), await make({ bearer: person.access })]
    const key = (service_account_id?: string) =>
      call(small, 'POST /keys', {
        bearer: person.access,
        json: service_account_id ? { service_account_id } : {},
      })
    const made = [await key(), await key(one.body.id), await key(two.body.id)]
    expect(made.map(({ status }) => status)).toEqual([201, 201, 201])
    for (const id of [undefined, one.body.id, two.body.id])
      expectQuota(await key(id), 'API_KEYS_PER_OWNER allows 3 ')
    await call(small, `DELETE /keys/${made[0]?.body.id}`, { bearer: person.access })
    const answers = await Promise.all([key(), key(one.body.id), key(two.body.id)])
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 403, 403])
  })

  test('does not count accounts of an admin, whose keys count for each account separately', async () => {
    const boss = await addLoggedIn(small, sql, { role: 'admin' })
    const { id } = (await make({ bearer: boss.access })).body
    const key = (json: Record<string, unknown>) => call(small, 'POST /keys', { bearer: boss.access, json })
    for (let n = 0; n < 3; n++) {
      expect((await key({ service_account_id: id })).status).toBe(201)
      expect((await key({})).status).toBe(201)
    }
    for (const json of [{}, { service_account_id: id }])
      expectQuota(await key(json), 'API_KEYS_PER_OWNER allows 3 ')
  })
})

const rowOf = async (id: string) => {
  const [row] =
    await sql`SELECT password_changed_at AS "passwordChangedAt" FROM latchkey.users WHERE id = ${id}`
  return row as { passwordChangedAt: null }
}
const command = (words: readonly string[], input = '') => {
  const SECRET_KEY = service.config.secretKey?.reveal() ?? ''
  return runInProcess(words, { env: { DATABASE_URL: service.databaseUrl, SECRET_KEY }, input })
}
/** Waits until this process has evicted what another process changed, within a second. */
async function expectSoon(read: () => Promise<boolean[]>, wanted: boolean[]): Promise<void> {
  await until(async () => Bun.deepEquals(await read(), wanted), `it becomes ${wanted}`, 1000)
}
