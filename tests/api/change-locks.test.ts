import { afterAll, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { asc, eq, inArray, sql as text } from 'drizzle-orm'
import type postgres from 'postgres'
import { signingKeys, users } from '../../src/db/schema.ts'
import { CHANGING_ROUTES, KINDS, newWorld, requestOf, UNSENT_MAIL } from '../support/authority.ts'
import { call } from '../support/client.ts'
import { findLockFault, lockOf, type Statement } from '../support/lock-order.ts'
import { addLoggedIn, addPerson, connectTo, PASSWORD } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { refresh } from '../support/refresh.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'

setDefaultTimeout(240_000)

let service: TestService
let sql: postgres.Sql
let holder: postgres.Sql
beforeAll(async () => {
  service = await startService({ ...UNSENT_MAIL, logLevel: 'error' })
  ;[sql, holder] = [connectTo(service), connectTo(service)]
})
afterAll(async () => {
  await Promise.all([sql.end(), holder.end()])
  await service.stop()
})
beforeEach(async () => {
  await sql`DELETE FROM latchkey.users`
  await sql`DELETE FROM latchkey.service_accounts`
  await sql`DELETE FROM latchkey.mails`
})

const rows = Object.entries(CHANGING_ROUTES).flatMap(([route, { by }]) =>
  by.map((kind) => [route, kind] as const),
)
const locksOf = (statements: readonly Statement[]) =>
  statements.flatMap((statement) => {
    const lock = / for (share|no key update|update)/.test(statement.text) && lockOf(statement.text)
    // The mails of other cases are sent in the background.
    return lock && lock.table !== 'mails' ? [{ ...lock, statement }] : []
  })
/** The transaction with a statement that begins so. Counts of uses may be written meanwhile, in another one. */
function transactionOf(statements: readonly Statement[], beginning: string): Statement[] {
  const found = statements.find(({ text }) => text.startsWith(beginning))
  return statements.filter(({ transaction }) => transaction === found?.transaction)
}

describe('the order of locks', () => {
  const locks = (table: string, mode: string, id = '') => ({
    text: `select "id" from "latchkey"."${table}" where "id" = $1 for ${mode}`,
    params: [id],
  })

  test.each<[string, ReturnType<typeof locks>[], string | null]>([
    [
      'as it has to be',
      [locks('users', 'share'), locks('sessions', 'update'), locks('api_keys', 'share')],
      null,
    ],
    [
      'the same table again',
      [locks('users', 'share'), locks('sessions', 'share'), locks('users', 'share')],
      null,
    ],
    [
      'a user after a session',
      [locks('sessions', 'share'), locks('users', 'share')],
      'users is locked after sessions',
    ],
    [
      'an UPDATE of a key after its secret was locked',
      [
        locks('api_key_secrets', 'share'),
        { text: 'update "latchkey"."api_keys" set "name" = $1 where "id" = $2', params: [] },
      ],
      'api_keys is locked after api_key_secrets',
    ],
    [
      'a DELETE of a session after a signing key was locked',
      [
        locks('signing_keys', 'share'),
        { text: 'delete from "latchkey"."sessions" where "id" = $1', params: [] },
      ],
      'sessions is locked after signing_keys',
    ],
    [
      'an advisory lock after a row',
      [locks('users', 'share'), { text: 'SELECT pg_advisory_xact_lock(1)', params: [] }],
      'advisory is locked after users',
    ],
  ])('%s', (_, statements, fault) => {
    expect(findLockFault(statements)).toBe(fault)
  })

  test('a lock that is raised to a stronger one is found', () => {
    const id = Bun.randomUUIDv7()
    const raised = [
      locks('users', 'share', id),
      { text: 'update "latchkey"."users" set "role" = $1 where "id" = $2', params: ['user', id] },
    ]
    expect(findLockFault(raised)).toBe(`users ${id}: the lock is raised from share to no key update`)
    expect(findLockFault([locks('users', 'no key update', id), ...raised.slice(1)])).toBeNull()
  })

  test('the transactions of a service keep the order', async () => {
    const { db } = service.context
    const { faults } = service.locks
    const someId = Bun.randomUUIDv7()
    const lockUsers = (tx: typeof db) => tx.select().from(users).where(eq(users.id, someId)).for('share')
    const lockSigningKeys = (tx: typeof db) =>
      tx.select().from(signingKeys).where(eq(signingKeys.id, '')).for('share')
    await db.transaction(async (tx) => {
      await lockUsers(tx)
      await lockSigningKeys(tx)
    })
    expect(faults).toEqual([])
    await db.transaction(async (tx) => {
      await lockSigningKeys(tx)
      await lockUsers(tx)
    })
    expect(faults.splice(0)).toEqual([expect.stringContaining('users is locked after signing_keys')])
  })

  test.each(rows)('%s by %s locks in that order, each row once', async (route, kind) => {
    const w = await newWorld(service, sql, kind)
    const statements = await service.locks.record(async () => {
      expect((await call(service, ...requestOf(route, w))).status).toBeLessThan(300)
    })
    const changing = statements.filter(({ transaction }) => transaction !== null)
    expect(locksOf(changing).length).toBeGreaterThan(1)
    expect(service.locks.faults).toEqual([])
  })
})

describe('the cost of reading the caller again inside a change', () => {
  /** The tables that the power of each kind of caller depends on. */
  const STANDS_ON: Record<(typeof KINDS)[number], string[]> = {
    admin: ['users', 'sessions', 'signing_keys'],
    user: ['users', 'sessions', 'signing_keys'],
    key: ['users', 'api_keys', 'api_key_secrets'],
    'account key': ['service_accounts', 'api_keys', 'api_key_secrets'],
    'account token': ['service_accounts', 'api_keys', 'api_key_secrets', 'signing_keys'],
  }

  test.each(KINDS.map((kind) => [kind]))(
    'for %s: one indexed statement for each table of the caller and one for the queue of the owner, before all else',
    async (kind) => {
      const w = await newWorld(service, sql, kind)
      const statements = await service.locks.record(async () => {
        const json = { name: 'new', scopes: ['read'] }
        const answer = await call(service, 'POST /service-accounts', { bearer: w.bearer, json })
        expect(answer.status).toBe(201)
      })
      const changing = transactionOf(statements, 'insert into "latchkey"."service_accounts"')
      const locks = locksOf(changing)
      expect(locks.map(({ table }) => table)).toEqual(STANDS_ON[kind])
      const [queued, ...first] = changing.slice(0, locks.length + 1)
      expect(lockOf(queued?.text ?? '')?.table).toBe('advisory')
      expect(first).toEqual(locks.map(({ statement }) => statement))
      for (const { statement } of locks) {
        const plan = await sql.begin(async (tx) => {
          await tx`SET LOCAL enable_seqscan = off`
          return tx.unsafe(`EXPLAIN ${statement.text}`, [...statement.params] as string[])
        })
        const text = plan.map((row) => row['QUERY PLAN']).join('\n')
        expect([statement.text, text.includes('Seq Scan')]).toEqual([statement.text, false])
      }
    },
  )

  test.each(KINDS.map((kind) => [kind]))(
    'for %s: one round trip, because all statements are sent before the first is answered',
    async (kind) => {
      const w = await newWorld(service, sql, kind)
      const tables = () => locksOf(statements).map(({ table }) => table)
      let statements: readonly Statement[] = []
      let sent: ReturnType<typeof call> | undefined
      await service.locks.record(async (recorded) => {
        statements = recorded
        await holder.begin(async (tx) => {
          await tx`SELECT 1 FROM latchkey.users FOR UPDATE`
          await tx`SELECT 1 FROM latchkey.service_accounts FOR UPDATE`
          const [{ pid } = { pid: 0 }] = await tx`SELECT pg_backend_pid() AS pid`
          const json = { name: 'new', scopes: ['read'] }
          sent = call(service, 'POST /service-accounts', { bearer: w.bearer, json })
          const isWaiting = () =>
            sql`SELECT 1 FROM pg_stat_activity WHERE ${pid} = ANY (pg_blocking_pids(pid))`
          while ((await isWaiting()).length === 0) await Bun.sleep(1)
          expect(tables()).toEqual(STANDS_ON[kind])
        })
        expect((await sent)?.status).toBe(201)
      })
    },
  )

  test('a refresh reads nothing again; a log-in locks the user and the queue of the user', async () => {
    const person = await addLoggedIn(service, sql)
    const refreshing = await service.locks.record(async () => {
      expect((await refresh(service, person.refresh)).status).toBe(200)
    })
    const trading = refreshing.filter(({ text }) => text.includes('"sessions"'))
    expect(trading.map(({ transaction, text }) => [transaction, text.slice(0, 28)])).toEqual([
      [null, 'update "latchkey"."sessions"'],
    ])
    const json = { email: person.email, password: PASSWORD }
    const loggingIn = await service.locks.record(async () => {
      expect((await call(service, 'POST /auth/login', { json })).status).toBe(200)
    })
    const within = transactionOf(loggingIn, 'insert into "latchkey"."sessions"')
    expect(locksOf(within).map(({ table, mode }) => [table, mode])).toEqual([['users', 1]])
    // The sixth asks whether the browser and the network are known; without SMTP_URL it is left out.
    expect(within).toHaveLength(6)
  })
})

describe('statements that are started together in a transaction', () => {
  test('of a change: the advisory locks are held before the change waits for a row', async () => {
    const [w, other] = [await newWorld(service, sql, 'admin'), await addPerson(sql, { role: 'admin' })]
    let sent: ReturnType<typeof call> | undefined
    await holder.begin(async (tx) => {
      await tx`SELECT 1 FROM latchkey.users FOR UPDATE`
      const [{ pid } = { pid: 0 }] = await tx`SELECT pg_backend_pid() AS pid`
      sent = call(service, `PATCH /users/${other.id}`, { bearer: w.bearer, json: { role: 'user' } })
      const waiting = () => sql`SELECT pid FROM pg_stat_activity WHERE ${pid} = ANY (pg_blocking_pids(pid))`
      let [blocked] = await waiting()
      while (!blocked) [blocked] = await waiting()
      const held = await sql`SELECT 1 FROM pg_locks
        WHERE pid = ${blocked.pid} AND locktype = 'advisory' AND granted`
      // The lock of the last admin, and the queues of the caller and of the other user.
      expect(held).toHaveLength(3)
    })
    expect((await sent)?.status).toBe(200)
  })

  test('are sent in the order in which they were started, whatever builds them', async () => {
    const people = await Promise.all([addPerson(sql), addPerson(sql)])
    await sql`CREATE SEQUENCE sent`
    const next = text<string>`nextval('public.sent')`
    const ids = people.map(({ id }) => id)
    const seen: number[] = []
    await service.context.db.transaction(async (tx) => {
      const locked = async () => {
        const cte = tx
          .$with('locked')
          .as(
            tx
              .select({ id: users.id })
              .from(users)
              .where(inArray(users.id, ids))
              .orderBy(asc(users.id))
              .for('share'),
          )
        const [row] = await tx.with(cte).select({ at: next }).from(cte).limit(1)
        return row?.at
      }
      const selected = async () => {
        const of = tx
          .select({ at: next })
          .from(users)
          .where(eq(users.id, ids[0] ?? ''))
        return (await of.for('share'))[0]?.at
      }
      const executed = async () => {
        const [row] = await tx.select({ at: next }).from(text`(SELECT 1) AS one`)
        return row?.at
      }
      const asked = async () => (await Promise.all([selected(), executed()])).join()
      // `takeLocks` starts them in this order: advisory locks, rows, facts.
      const started = Array.from({ length: 10 }, () => [executed(), selected(), locked(), asked()])
      const answers = await Promise.all(started.flat())
      seen.push(...answers.join().split(',').map(Number))
    })
    await sql`DROP SEQUENCE sent`
    expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => i + 1))
  })
})

describe('a transaction that PostgreSQL aborts', () => {
  /** Makes the next inserts of a service account fail, so many times. */
  async function failTimes(times: number, state: string): Promise<() => Promise<number>> {
    await sql.unsafe(`
      CREATE SEQUENCE public.attempts;
      CREATE FUNCTION public.give_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('public.attempts') <= ${times} THEN RAISE EXCEPTION 'given up' USING ERRCODE = '${state}'; END IF;
        RETURN NEW;
      END $$;
      CREATE TRIGGER give_up BEFORE INSERT ON latchkey.service_accounts
        FOR EACH ROW EXECUTE FUNCTION public.give_up();`)
    return async () => {
      const [row] = await sql`SELECT last_value::int AS attempts FROM public.attempts`
      await sql.unsafe(`DROP TRIGGER give_up ON latchkey.service_accounts; DROP FUNCTION public.give_up();
        DROP SEQUENCE public.attempts`)
      return row?.attempts
    }
  }
  const make = async (json = { name: 'new', scopes: ['read'] }) => {
    const person = await addLoggedIn(service, sql)
    return call(service, 'POST /service-accounts', { bearer: person.access, json })
  }
  const countAccounts = async () => (await sql`SELECT 1 FROM latchkey.service_accounts`).length

  test.each([['40001'], ['40P01']])('with %s twice is tried again, and takes effect once', async (state) => {
    const end = await failTimes(2, state)
    const answer = await make()
    expect([await end(), answer.status, await countAccounts()]).toEqual([3, 201, 1])
    const events = await sql`SELECT 1 FROM latchkey.audit_events WHERE target_id = ${answer.body.id}`
    expect(events).toHaveLength(1)
  })

  test.each([['40001'], ['40P01']])('with %s three times answers 503, and has no effect', async (state) => {
    const end = await failTimes(3, state)
    const answer = await make()
    expect([await end(), await countAccounts()]).toEqual([3, 0])
    expectProblem(answer, 'unavailable')
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
  })

  test('with any other error is not tried again', async () => {
    const end = await failTimes(1, '42501')
    const answer = await make()
    expect([await end(), answer.status]).toEqual([1, 500])
  })

  test('by a deadlock with a session that locks in another order still succeeds for the caller', async () => {
    const w = await newWorld(service, sql, 'user')
    const deadlocks = async () => {
      await sql`SELECT pg_stat_clear_snapshot()`
      const [row] = await sql`SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()`
      return row?.deadlocks
    }
    const before = await deadlocks()
    let sent: ReturnType<typeof call> | undefined
    await holder.begin(async (tx) => {
      await tx`SET LOCAL deadlock_timeout = '10s'`
      await tx`SELECT 1 FROM latchkey.api_keys WHERE id = ${w.key} FOR UPDATE`
      const [{ pid } = { pid: 0 }] = await tx`SELECT pg_backend_pid() AS pid`
      sent = call(service, ...requestOf('PATCH /keys/{id}', w))
      const isWaiting = () => sql`SELECT 1 FROM pg_stat_activity WHERE ${pid} = ANY (pg_blocking_pids(pid))`
      while ((await isWaiting()).length === 0) await Bun.sleep(1)
      // The request holds the user and waits for the key. It checks for a deadlock first, so PostgreSQL aborts the request.
      await tx`SELECT 1 FROM latchkey.users WHERE id = ${w.person.id} FOR UPDATE`
    })
    expect((await sent)?.status).toBe(200)
    expect((await sent)?.body.name).toBe('other')
    const isCounted = async () => (await deadlocks()) > before
    await until(isCounted, 'the deadlock is counted')
  })
})
