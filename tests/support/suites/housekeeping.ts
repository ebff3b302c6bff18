import { describe, expect, test } from 'bun:test'
import { sql as raw } from 'drizzle-orm'
import { deleteOutdated } from '../../../src/core/housekeeping/delete-outdated.ts'
import { silentLog } from '../../../src/lib/log.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../../src/lib/time.ts'
import { assembleContext } from '../../../src/server/open.ts'
import { testConfig } from '../config.ts'
import type { Target } from '../databases.ts'
import { selectRows } from '../select.ts'

const T0 = Date.UTC(2026, 0, 15, 12)

/** What is deleted as outdated, and what is kept. */
export function describeHousekeeping({ name, isHere, open }: Target): void {
  describe.skipIf(!isHere)(`housekeeping on ${name}`, () => {
    /** A context on its own database, with a clock that the test moves. */
    async function begin(auditRetentionDays = 365) {
      const { database, config: where, end } = await open()
      let now = T0
      const config = testConfig({ ...where, auditRetentionDays })
      const { context } = await assembleContext(config, database, silentLog, {
        clock: () => now,
        caching: false,
      })
      const { db } = database
      const vacuums = database.kind === 'embedded'
      const count = async (table: string) =>
        (await selectRows<{ n: number }>(db, raw.raw(`SELECT count(*)::int AS n FROM latchkey.${table}`)))[0]
          ?.n
      return {
        db,
        context,
        count,
        deleteOutdated: () => deleteOutdated(context, { vacuums }),
        advance: (ms: number) => {
          now += ms
        },
        run: (text: string) => db.execute(raw.raw(text)),
        end,
      }
    }
    const addEvents = (n: number, at: number) =>
      `INSERT INTO latchkey.audit_events (id, at, action, outcome, actor_type, details)
     SELECT gen_random_uuid(), to_timestamp(${at / 1000}), 'user.login', 'success', 'system', '{}'
     FROM generate_series(1, ${n})`

    test('keeps the audit trail for AUDIT_RETENTION_DAYS, and no longer, a thousand rows a step', async () => {
      const it = await begin(30)
      await it.run('DELETE FROM latchkey.audit_events')
      await it.run(addEvents(2500, T0))
      await it.run(addEvents(7, T0 + HOUR_MS))
      await it.run(`CREATE TABLE public.steps (n int);
    `)
      await it.run(`CREATE FUNCTION public.note_step() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO public.steps SELECT count(*) FROM gone; RETURN NULL; END $$`)
      await it.run(`CREATE TRIGGER note_step AFTER DELETE ON latchkey.audit_events REFERENCING OLD TABLE AS gone
      FOR EACH STATEMENT EXECUTE FUNCTION public.note_step()`)
      it.advance(30 * DAY_MS)
      expect(await it.deleteOutdated()).toBe(0)
      expect(await it.count('audit_events')).toBe(2507)
      it.advance(MINUTE_MS)
      expect(await it.deleteOutdated()).toBe(2500)
      expect(await it.count('audit_events')).toBe(7)
      const steps = await selectRows<{ n: number }>(
        it.db,
        raw.raw('SELECT n FROM public.steps WHERE n > 0 ORDER BY n DESC'),
      )
      expect(steps.map(({ n }) => n)).toEqual([1000, 1000, 500])
      it.advance(HOUR_MS)
      expect(await it.deleteOutdated()).toBe(7)
      expect(await it.deleteOutdated()).toBe(0)
      await it.end()
    })

    test('forgets what belongs to second factors once it is over, and no factor', async () => {
      const it = await begin()
      const user = "'01900000-0000-7000-8000-000000000001'"
      const at = (ms: number) => `to_timestamp(${(T0 + ms) / 1000})`
      await it.run(
        `INSERT INTO latchkey.users (id, email, created_at) VALUES (${user}, 'someone@example.com', now())`,
      )
      await it.run(`INSERT INTO latchkey.pending_steps (id, hash, user_id, kind, created_at, expires_at)
        VALUES (gen_random_uuid(), sha256('1'), ${user}, 'api', ${at(0)}, ${at(5 * MINUTE_MS)})`)
      await it.run(`INSERT INTO latchkey.passkey_challenges (challenge, purpose, created_at, expires_at)
        VALUES (sha256('1'), 'login', ${at(0)}, ${at(5 * MINUTE_MS)})`)
      await it.run(`INSERT INTO latchkey.totp_secrets (id, user_id, secret, created_at, confirmed_at) VALUES
        (gen_random_uuid(), ${user}, '\\x00', ${at(0)}, NULL), (gen_random_uuid(), ${user}, '\\x00', ${at(0)}, ${at(0)})`)
      await it.run(
        `INSERT INTO latchkey.recovery_codes (hash, user_id, created_at) VALUES (sha256('1'), ${user}, ${at(0)})`,
      )
      await it.run(
        `INSERT INTO latchkey.code_failures (user_id, failures, last_failed_at) VALUES (${user}, 4, ${at(0)})`,
      )
      const tables = [
        'pending_steps',
        'passkey_challenges',
        'totp_secrets',
        'recovery_codes',
        'code_failures',
      ]
      const counts = () => Promise.all(tables.map(it.count))
      it.advance(DAY_MS)
      await it.deleteOutdated()
      expect(await counts()).toEqual([1, 1, 2, 1, 1])
      it.advance(HOUR_MS)
      await it.deleteOutdated()
      expect(await counts()).toEqual([0, 0, 1, 1, 1])
      it.advance(30 * DAY_MS)
      await it.deleteOutdated()
      expect(await counts()).toEqual([0, 0, 1, 1, 0])
      await it.end()
    })

    test('forgets what is long over, and nothing that may still be asked for', async () => {
      const it = await begin()
      await it.run(`INSERT INTO latchkey.users (id, email, created_at)
      VALUES ('01900000-0000-7000-8000-000000000001', 'someone@example.com', now())`)
      const at = (ms: number) => `to_timestamp(${(T0 + ms) / 1000})`
      const addSession = (idle: number, expires: number, ended: number | null) =>
        it.run(`INSERT INTO latchkey.sessions (id, user_id, salt, created_at, rotated_at, idle_expires_at, expires_at, ended_at)
        VALUES (gen_random_uuid(), '01900000-0000-7000-8000-000000000001', decode(repeat('00', 16), 'hex'), ${at(0)}, ${at(0)},
          ${at(idle)}, ${at(expires)}, ${ended === null ? 'NULL' : at(ended)})`)
      await addSession(7 * DAY_MS, 30 * DAY_MS, null)
      await addSession(60 * DAY_MS, 60 * DAY_MS, HOUR_MS)
      await addSession(60 * DAY_MS, 60 * DAY_MS, null)
      const addReset = (expires: number) =>
        it.run(`INSERT INTO latchkey.password_resets (id, user_id, hash, created_at, expires_at)
        VALUES (gen_random_uuid(), '01900000-0000-7000-8000-000000000001', sha256('${expires}'), ${at(0)}, ${at(expires)})`)
      await addReset(30 * MINUTE_MS)
      await addReset(100 * DAY_MS)
      const addAttempt = (began: number) =>
        it.run(`INSERT INTO latchkey.login_attempts (email_hmac, attempts, window_started_at)
        VALUES (sha256('${began}'), 10, ${at(began)})`)
      await addAttempt(0)
      await addAttempt(95 * DAY_MS)
      const counts = async () => [
        await it.count('sessions'),
        await it.count('password_resets'),
        await it.count('login_attempts'),
      ]
      it.advance(DAY_MS)
      await it.deleteOutdated()
      expect(await counts()).toEqual([3, 2, 2])
      it.advance(HOUR_MS)
      await it.deleteOutdated()
      expect(await counts()).toEqual([3, 1, 1])
      it.advance(90 * DAY_MS)
      await it.deleteOutdated()
      expect(await counts()).toEqual([2, 1, 1])
      it.advance(7 * DAY_MS)
      await it.deleteOutdated()
      expect(await counts()).toEqual([1, 1, 0])
      expect(await it.count('users')).toBe(1)
      await it.end()
    })

    test('keeps portal sessions a day beyond their end, used or not', async () => {
      const it = await begin()
      await it.run(`INSERT INTO latchkey.users (id, email, role, created_at) VALUES
        ('01900000-0000-7000-8000-000000000001', 'customer@example.com', 'user', now()),
        ('01900000-0000-7000-8000-000000000002', 'admin@example.com', 'admin', now())`)
      const at = (ms: number) => `to_timestamp(${(T0 + ms) / 1000})`
      const addPortal = (expires: number, bearer: string) =>
        it.run(`INSERT INTO latchkey.portal_sessions (id, user_id, made_by_user, scopes, may, link_hash, link_expires_at,
            bearer_hash, created_at, expires_at)
          VALUES (gen_random_uuid(), '01900000-0000-7000-8000-000000000001', '01900000-0000-7000-8000-000000000002', '{}',
            '{read}', sha256('${expires}'), ${at(0)}, ${bearer}, ${at(0)}, ${at(expires)})`)
      await addPortal(15 * MINUTE_MS, 'NULL')
      await addPortal(HOUR_MS, "sha256('bearer')")
      it.advance(DAY_MS + 15 * MINUTE_MS)
      await it.deleteOutdated()
      expect(await it.count('portal_sessions')).toBe(2)
      it.advance(1)
      await it.deleteOutdated()
      expect(await it.count('portal_sessions')).toBe(1)
      it.advance(45 * MINUTE_MS)
      await it.deleteOutdated()
      expect(await it.count('portal_sessions')).toBe(0)
      await it.end()
    })

    test('keeps one-time tokens a day beyond their end, mails seven days, and counts of mailboxes an hour', async () => {
      const it = await begin()
      const at = (ms: number) => `to_timestamp(${(T0 + ms) / 1000})`
      const addToken = (expires: number) =>
        it.run(`INSERT INTO latchkey.one_time_tokens (id, purpose, hash, created_at, expires_at)
        VALUES (gen_random_uuid(), 'setup', sha256('${expires}'), ${at(0)}, ${at(expires)})`)
      await addToken(HOUR_MS)
      await addToken(3 * DAY_MS)
      const addMail = (due: number, ended: number | null) =>
        it.run(`INSERT INTO latchkey.mails (id, kind, recipient, parameters, created_at, next_attempt_at, ended_at, outcome)
        VALUES (gen_random_uuid(), 'password_changed', 'a@example.com', '{}', ${at(0)}, ${at(due)},
          ${ended === null ? 'NULL, NULL' : `${at(ended)}, 'sent'`})`)
      await addMail(0, HOUR_MS)
      await addMail(0, 3 * DAY_MS)
      // Without SMTP_URL nothing sends these.
      await addMail(0, null)
      await addMail(DAY_MS, null)
      const addMailbox = (began: number) =>
        it.run(`INSERT INTO latchkey.mailbox_counts (email_hmac, count, window_started_at)
        VALUES (sha256('${began}'), 1, ${at(began)})`)
      await addMailbox(0)
      await addMailbox(30 * MINUTE_MS)
      const counts = async () => [
        await it.count('one_time_tokens'),
        await it.count('mails'),
        await it.count('mailbox_counts'),
      ]
      it.advance(HOUR_MS)
      await it.deleteOutdated()
      expect(await counts()).toEqual([2, 4, 2])
      it.advance(MINUTE_MS)
      await it.deleteOutdated()
      expect(await counts()).toEqual([2, 4, 1])
      it.advance(DAY_MS)
      await it.deleteOutdated()
      expect(await counts()).toEqual([1, 4, 0])
      it.advance(6 * DAY_MS)
      await it.deleteOutdated()
      expect(await counts()).toEqual([0, 2, 0])
      it.advance(4 * DAY_MS)
      await it.deleteOutdated()
      expect(await counts()).toEqual([0, 0, 0])
      await it.end()
    })

    test('with EMAIL_VERIFICATION=required deletes sign-ups that were never verified and never signed in', async () => {
      const it = await begin()
      const add = (
        email: string,
        { isSignUp = true, isVerified = false, login = 'NULL', role = 'user' } = {},
      ) =>
        it.run(`INSERT INTO latchkey.users (id, email, role, is_sign_up, email_verified, first_login_at, created_at)
        VALUES (gen_random_uuid(), '${email}', '${role}', ${isSignUp}, ${isVerified}, ${login}, to_timestamp(${T0 / 1000}))`)
      await add('forgotten@example.com')
      await add('verified@example.com', { isVerified: true })
      await add('signed-in@example.com', { login: 'now()' })
      await add('made@example.com', { isSignUp: false })
      await add('admin@example.com', { role: 'admin' })
      it.advance(7 * DAY_MS)
      await it.deleteOutdated()
      expect(await it.count('users')).toBe(5)
      it.advance(MINUTE_MS)
      // With another setting no user is deleted.
      await it.deleteOutdated()
      expect(await it.count('users')).toBe(5)
      it.context.config.emailVerification = 'required'
      await it.deleteOutdated()
      const left = await selectRows<{ email: string }>(
        it.db,
        raw.raw('SELECT email FROM latchkey.users ORDER BY 1'),
      )
      expect(left.map(({ email }) => email)).toEqual([
        'admin@example.com',
        'made@example.com',
        'signed-in@example.com',
        'verified@example.com',
      ])
      const [event] = await selectRows(
        it.db,
        raw.raw(`SELECT actor_type, details FROM latchkey.audit_events WHERE action = 'user.deleted'`),
      )
      expect(event).toMatchObject({ actor_type: 'system', details: { email: 'forgotten@example.com' } })
      await it.end()
    })
  })
}
