import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { eq, sql } from 'drizzle-orm'
import { addAuditCounts, listAuditEvents } from '../../../src/core/audit/queries.ts'
import { errorCode, isUnavailable, violatedConstraint } from '../../../src/db/errors.ts'
import { migrate, readMigrationState } from '../../../src/db/migrate.ts'
import { apiKeys, auditEvents, loginAttempts, sessions, users } from '../../../src/db/schema.ts'
import { constraintCases, constraintNames } from '../constraint-cases.ts'
import type { Opened, Target } from '../databases.ts'
import { insertOneOfEach, rows } from '../rows.ts'
import { selectRows } from '../select.ts'

const failureOf = (work: PromiseLike<unknown>) =>
  Promise.resolve(work).then(
    () => null,
    (error: unknown) => error,
  )

/** The behaviour that the code requires of every database that it runs on. */
export function describeConformance(target: Target): void {
  describe.skipIf(!target.isHere)(`on ${target.name}`, () => {
    let opened: Opened
    beforeAll(async () => {
      opened = await target.open()
    })
    afterAll(() => opened?.end())
    const db = () => opened.database.db

    test('an empty database is migrated once, and again there is nothing to do', async () => {
      const empty = await target.open({ migrated: false })
      const { config, database } = empty
      const before = await readMigrationState(database)
      expect(before.known).toBeGreaterThan(1)
      expect(before.pending).toBe(before.known)
      expect(await migrate(config, database)).toEqual({ ...before, pending: 0, place: 'home' })
      const journal = sql`SELECT * FROM latchkey.migrations ORDER BY id`
      const first = await selectRows(database.db, journal)
      expect(first).toHaveLength(before.known)
      expect(await migrate(config, database)).toEqual({ ...before, pending: 0, place: 'home' })
      expect(await selectRows(database.db, journal)).toEqual(first)
      await empty.end()
    })

    test('everything of ours is in the schema latchkey', async () => {
      const elsewhere = await selectRows(
        db(),
        sql`SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname NOT IN ('latchkey', 'pg_catalog', 'information_schema', 'pg_toast')`,
      )
      expect(elsewhere).toEqual([])
    })

    test('every constraint refuses what it is there for, and names itself', async () => {
      const existing = await insertOneOfEach(db())
      const names = await selectRows<{ name: string }>(db(), constraintNames)
      expect(Object.keys(constraintCases).sort()).toEqual(names.map(({ name }) => name).sort())
      for (const [name, statements] of Object.entries(constraintCases)) {
        for (const statement of statements) {
          const error = await failureOf(statement(db(), existing))
          expect(violatedConstraint(error)).toBe(name)
          expect(isUnavailable(error)).toBe(false)
        }
      }
    })

    test('every foreign key is indexed', async () => {
      const bare = await selectRows(
        db(),
        sql`SELECT conname FROM pg_constraint f WHERE contype = 'f' AND connamespace = 'latchkey'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = f.conrelid AND i.indisvalid
              AND i.indpred IS NULL AND (i.indkey::int2[])[0:cardinality(f.conkey) - 1] = f.conkey)`,
      )
      expect(bare).toEqual([])
    })

    test('values come back as they went in', async () => {
      const at = new Date('2024-02-29T23:59:59.987Z')
      const scopes = ['read', '', 'a "b"', 'back\\slash', '{}', 'comma,', 'NULL', 'é漢😀', ' ']
      const user = { ...rows.user(), scopes, createdAt: at, passwordHash: null }
      await db().insert(users).values(user)
      const [found] = await db().select().from(users).where(eq(users.id, user.id))
      expect(found).toMatchObject({ ...user, emailVerified: false, role: 'user', isActive: true })
      expect(found?.createdAt).toBeInstanceOf(Date)

      const session = {
        ...rows.session(user.id),
        generation: 2 ** 32 - 1,
        expiresAt: new Date(253402300799000),
      }
      await db().insert(sessions).values(session)
      const [row] = await db().select().from(sessions).where(eq(sessions.id, session.id))
      expect(row?.salt).toBeInstanceOf(Uint8Array)
      expect(Buffer.from(row?.salt ?? []).equals(session.salt)).toBe(true)
      expect(row).toMatchObject({ generation: 4294967295, expiresAt: session.expiresAt, endedAt: null })

      const details = {
        text: 'é漢😀"\\',
        list: [1, 2.5, null, true, { deep: {} }],
        '': '[1]',
        n: 9007199254740991,
      }
      const event = { ...rows.auditEvent(), details }
      await db().insert(auditEvents).values(event)
      const [audit] = await db().select().from(auditEvents).where(eq(auditEvents.id, event.id))
      expect(audit).toMatchObject({ ...event, actorId: null, ip: null })
    })

    test('events that are counted are one row, and stand in the list by their time', async () => {
      const actorId = Bun.randomUUIDv7()
      const eventAt = (ms: number) => ({ ...rows.auditEvent(), actorId, at: new Date(ms) })
      const [first, between, last] = [eventAt(1000), eventAt(2000), eventAt(3000)]
      // Sorted by id, the last event would be the oldest one.
      const counted = { ...last, id: '00000000-0000-7000-8000-000000000000', details: { reason: 'x' } }
      await db().insert(auditEvents).values([first, between])
      const other = { ...counted, ip: '192.0.2.1', at: new Date(9000) }
      await addAuditCounts(db(), [{ row: counted, count: 1 }])
      await addAuditCounts(db(), [{ row: other, count: 41 }])
      const filter = {
        actor: actorId,
        target: null,
        action: null,
        outcome: null,
        requestId: null,
        from: null,
        to: null,
      }
      const [newest, ...rest] = await listAuditEvents(db(), filter, { limit: 2, after: null })
      expect(newest).toMatchObject({ ...counted, details: { reason: 'x', count: 42 } })
      expect(rest.map(({ id }) => id)).toEqual([between.id])
      const more = await listAuditEvents(db(), filter, { limit: 2, after: between.id })
      expect(more.map(({ id }) => id)).toEqual([first.id])
    })

    test('a stored value is what SQL sees, not its encoding', async () => {
      const user = { ...rows.user(), scopes: ['read', 'write'] }
      const event = { ...rows.auditEvent(), details: { reason: 'x' } }
      await db().insert(users).values(user)
      await db().insert(auditEvents).values(event)
      const [seen] = await selectRows(
        db(),
        sql`SELECT u.scopes[2] AS scope, cardinality(u.scopes) AS count, jsonb_typeof(e.details) AS type,
              e.details ->> 'reason' AS reason FROM latchkey.users u, latchkey.audit_events e
            WHERE u.id = ${user.id} AND e.id = ${event.id}`,
      )
      expect(seen).toEqual({ scope: 'write', count: 2, type: 'object', reason: 'x' })
    })

    test('arrays go in and come out of raw SQL', async () => {
      const ids = [Bun.randomUUIDv7(), Bun.randomUUIDv7()]
      const words = ['a', 'b,c', 'd"e\\', '', 'NULL']
      const [seen] = await selectRows(
        db(),
        sql`SELECT ${sql.param(words)}::text[] AS words, ${sql.param(ids)}::uuid[] AS ids, '{1,2}'::int[] AS numbers,
              ARRAY['x', NULL] AS holes, ARRAY[true, false] AS flags, '{}'::text[] AS none,
              ${ids[0]}::uuid = ANY(${sql.param(ids)}::uuid[]) AS within`,
      )
      const holes = ['x', null]
      expect(seen).toEqual({
        words,
        ids,
        numbers: [1, 2],
        holes,
        flags: [true, false],
        none: [],
        within: true,
      })
    })

    test('text that PostgreSQL cannot hold is refused, not mangled', async () => {
      for (const email of ['nul\0@example.com']) {
        const error = await failureOf(
          db()
            .insert(users)
            .values({ ...rows.user(), email }),
        )
        expect(errorCode(error)).toBe('22021')
        expect(isUnavailable(error)).toBe(false)
      }
      const error = await failureOf(
        db()
          .insert(auditEvents)
          .values({ ...rows.auditEvent(), details: { x: '\0' } }),
      )
      expect(errorCode(error)).toBe('22P05')
    })

    test('a transaction is all or nothing, and a nested one is undone alone', async () => {
      const [kept, lost] = [rows.user(), rows.user()]
      const inner = (tx: Parameters<Parameters<ReturnType<typeof db>['transaction']>[0]>[0]) =>
        tx.transaction(async (nested) => {
          await nested.insert(users).values(lost)
          throw new Error('inner')
        })
      await db().transaction(async (tx) => {
        await tx.insert(users).values(kept)
        expect(await failureOf(inner(tx))).toMatchObject({ message: 'inner' })
      })
      const failed = db().transaction(async (tx) => {
        await tx.delete(users).where(eq(users.id, kept.id))
        throw new Error('outer')
      })
      expect(await failureOf(failed)).toMatchObject({ message: 'outer' })
      expect(await db().select().from(users).where(eq(users.id, kept.id))).toHaveLength(1)
      expect(await db().select().from(users).where(eq(users.id, lost.id))).toHaveLength(0)
    })

    test('a transaction that kept an error to itself does not pretend to be committed', async () => {
      const user = rows.user()
      const swallowing = db().transaction(async (tx) => {
        await tx.insert(users).values(user)
        await failureOf(tx.execute(sql`SELECT 1 / 0`))
      })
      expect(await failureOf(swallowing)).toBeInstanceOf(Error)
      expect(await db().select().from(users).where(eq(users.id, user.id))).toEqual([])
    })

    test('updates and upserts answer the rows that they changed', async () => {
      const attempt = rows.loginAttempt()
      const upsert = () =>
        db()
          .insert(loginAttempts)
          .values(attempt)
          .onConflictDoUpdate({
            target: loginAttempts.emailHmac,
            set: { attempts: sql`${loginAttempts.attempts} + 1` },
          })
          .returning({ attempts: loginAttempts.attempts })
      expect([await upsert(), await upsert()]).toEqual([[{ attempts: 1 }], [{ attempts: 2 }]])
      const none = await db()
        .update(apiKeys)
        .set({ isActive: false })
        .where(eq(apiKeys.id, Bun.randomUUIDv7()))
        .returning()
      expect(none).toEqual([])
    })

    test('a prepared statement takes new values each time', async () => {
      const user = rows.user()
      await db().insert(users).values(user)
      const byId = db()
        .select({ email: users.email })
        .from(users)
        .where(eq(users.id, sql.placeholder('id')))
        .prepare('conformance_by_id')
      expect(await byId.execute({ id: user.id })).toEqual([{ email: user.email }])
      expect(await byId.execute({ id: Bun.randomUUIDv7() })).toEqual([])
    })

    test('messages arrive in order, until listening ends', async () => {
      const heard: string[] = []
      const done = Promise.withResolvers<void>()
      const stop = await opened.database.listen(['conformance_channel'], {
        message: (payload) => (payload === 'last' ? done.resolve() : heard.push(payload)),
        gap: () => heard.push('gap'),
      })
      for (const payload of ['1', 'two words', 'é漢', '']) {
        await opened.database.notify('conformance_channel', payload)
      }
      await opened.database.notify('another', 'not ours')
      await opened.database.notify('conformance_channel', 'last')
      await done.promise
      await stop()
      await opened.database.notify('conformance_channel', 'too late')
      await db().execute(sql`SELECT 1`)
      expect(heard).toEqual(['1', 'two words', 'é漢', ''])
    })
  })
}
