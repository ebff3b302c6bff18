import { afterAll, afterEach, describe, expect, test } from 'bun:test'
import { networkInterfaces } from 'node:os'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { recordChange } from '../../src/core/change/record-change.ts'
import { deliverMails } from '../../src/core/mail/deliver.ts'
import type { NewMail } from '../../src/core/mail/queue.ts'
import { createSendMail, TRY_LASTS_MS } from '../../src/core/mail/smtp.ts'
import { tokenOf } from '../../src/core/one-time-tokens/one-time-tokens.ts'
import { OPERATOR } from '../../src/core/principal.ts'
import { secret } from '../../src/lib/secret.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/lib/time.ts'
import { call } from '../support/client.ts'
import { type Behaviour, makeCertificate, startMailServer, tokenIn } from '../support/mail-server.ts'
import { addPerson } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { useService, useSql } from '../support/use-service.ts'

const mails = await startMailServer()
afterAll(() => mails.stop())
afterEach(() => mails.behave('take'))

const service = useService({ ...mails.settings, metricsToken: secret('m'.repeat(32)) })
const other = useService({ ...mails.settings }, service)
const sql = useSql(service)

const fresh = () => `${Bun.randomUUIDv7()}@example.com`
const rowOf = async (recipient: string) =>
  (await sql`SELECT * FROM latchkey.mails WHERE recipient = ${recipient}`)[0]
const notice = (to: string): NewMail => ({ kind: 'password_changed', to, userId: null })
/** Writes a mail as a change does. */
const write = (mail: NewMail, at = service) =>
  recordChange(at.context, SYSTEM, OPERATOR, [], ({ queueMail }) => queueMail(mail))
const attempts = async (recipient: string) => (await rowOf(recipient))?.attempts
const triedTimes = (recipient: string) => mails.tried.filter((each) => each === recipient).length
/** Waits for the mail's next try, and sets the clock there. */
async function tryAgain(recipient: string) {
  const row = await rowOf(recipient)
  await sql`UPDATE latchkey.mails SET last_error = NULL WHERE recipient = ${recipient}`
  service.advance(row?.next_attempt_at.getTime() - service.context.clock())
  await deliverMails(service.context)
  // The server's own job may have been first.
  const isOver = async () => {
    const { outcome, last_error } = (await rowOf(recipient)) ?? {}
    return outcome !== null || last_error !== null
  }
  await until(isOver, 'it is tried again')
}
/** Puts the clock back after a test. */
async function withClock(work: () => Promise<void>) {
  const before = service.context.clock() - Date.now()
  await work().finally(() => service.advance(before - (service.context.clock() - Date.now())))
}

describe('a mail', () => {
  test('is sent at once after its transaction, once, from whichever of two servers', async () => {
    const people = Array.from({ length: 30 }, fresh)
    await Promise.all(people.map((to, i) => write(notice(to), i % 2 ? other : service)))
    for (const to of people) await mails.next(to)
    for (const to of people) {
      await until(async () => (await rowOf(to))?.outcome === 'sent', 'it is noted')
      expect(mails.to(to)).toHaveLength(1)
      expect(await rowOf(to)).toMatchObject({ outcome: 'sent', attempts: 1, last_error: null })
    }
  })

  test('of a transaction that is rolled back is never written', async () => {
    const to = fresh()
    const work = recordChange(service.context, SYSTEM, OPERATOR, [], async ({ queueMail }) => {
      await queueMail(notice(to))
      throw new Error('undo')
    })
    await expect(work).rejects.toThrow('undo')
    await deliverMails(service.context)
    expect([await rowOf(to), mails.to(to).length]).toEqual([undefined, 0])
    await write(notice(to))
    await mails.next(to)
  })

  test('of a server that died while it sent it is sent by another one, when its claim is over', async () => {
    await withClock(async () => {
      const to = fresh()
      await sql`INSERT INTO latchkey.mails (id, kind, recipient, parameters, created_at, attempts, next_attempt_at)
        VALUES (gen_random_uuid(), 'password_changed', ${to}, '{}', now(), 1, now() + interval '1 min')`
      await deliverMails(service.context)
      expect(mails.to(to)).toHaveLength(0)
      service.advance(MINUTE_MS + SECOND_MS)
      await deliverMails(service.context)
      expect(mails.to(to)).toHaveLength(1)
    })
  })

  test('holds no token, no link and no body in the database', async () => {
    const person = await addPerson(sql, { email: fresh() })
    await call(service, 'POST /auth/forgot-password', { json: { email: person.email } })
    const token = tokenIn(await mails.next(person.email))
    const dump = JSON.stringify([
      await sql`SELECT m::text FROM latchkey.mails m`,
      await sql`SELECT t::text FROM latchkey.one_time_tokens t`,
      await sql`SELECT e::text FROM latchkey.audit_events e`,
    ])
    expect(dump).toContain(person.id)
    expect(dump).not.toContain(token.slice(0, 30))
    expect(dump).not.toContain('reset-password?')
    expect(service.loggedText()).not.toContain(token.slice(0, 30))
    expect(service.loggedText()).not.toContain(person.email)
  })

  test('of a kind that only a newer version knows is left to it', async () => {
    const to = fresh()
    await sql`INSERT INTO latchkey.mails (id, kind, recipient, parameters, created_at, next_attempt_at)
      VALUES (gen_random_uuid(), 'from_the_future', ${to}, '{}', now(), now())`
    await deliverMails(service.context)
    expect(await rowOf(to)).toMatchObject({ attempts: 0, outcome: null })
    await sql`DELETE FROM latchkey.mails WHERE recipient = ${to}`
  })
})

describe('a mail server that does not take a mail', () => {
  test('for now (4xx): it is tried after 10 s, 1 min, 5 min, 30 min, 2 h, then every 6 h, and given up after 24 h', async () => {
    await withClock(async () => {
      mails.behave({ data: 451 })
      const to = fresh()
      await write({ ...notice(to), userId: Bun.randomUUIDv7() })
      await until(
        async () => (await attempts(to)) === 1 && (await rowOf(to))?.last_error !== null,
        'it is tried',
      )
      const waits: number[] = []
      for (let row = await rowOf(to); row?.outcome === null; row = await rowOf(to)) {
        waits.push(Math.round((row.next_attempt_at - service.context.clock()) / 1000))
        await tryAgain(to)
      }
      const before = [10, 60, 300, 1800, 7200, 21_600, 21_600, 21_600]
      const last = DAY_MS / 1000 - before.reduce((a, b) => a + b)
      expect(waits.slice(0, -1).map((wait, i) => Math.abs(wait - (before[i] ?? 0)) <= 2)).toEqual(
        before.map(() => true),
      )
      expect(Math.abs((waits.at(-1) ?? 0) - last)).toBeLessThan(20)
      const row = await rowOf(to)
      expect(row).toMatchObject({ outcome: 'failed', last_error: expect.stringContaining('451') })
      const [event] =
        await sql`SELECT * FROM latchkey.audit_events WHERE action = 'mail.failed' AND target_id = ${row?.user_id}`
      expect(event).toMatchObject({ outcome: 'refused', details: { kind: 'password_changed', attempts: 10 } })
      expect(service.logged()).toContainEqual(
        expect.objectContaining({ level: 'error', message: 'A mail was given up', mail: row?.id }),
      )
      const { text } = await call(service, 'GET /metrics', { bearer: 'm'.repeat(32) })
      expect(text).toMatch(/latchkey_mails_total\{kind="password_changed",outcome="failed"\} [1-9]/)
      expect(text).toMatch(/latchkey_mails_total\{kind="password_changed",outcome="delayed"\} [1-9]/)
      expect(text).toMatch(/latchkey_mails_total\{kind="password_changed",outcome="sent"\} [1-9]/)
    })
  })

  test.each<[string, Behaviour]>([
    ['the recipient', { recipient: 550 }],
    ['the mail', { data: 554 }],
  ])(
    'for good (5xx, %s): it is given up at once, and the address is not in what is kept',
    async (_, behaviour) => {
      mails.behave(behaviour)
      const to = fresh()
      await write(notice(to))
      await until(async () => (await rowOf(to))?.outcome === 'failed', 'it is given up')
      const { attempts, last_error } = (await rowOf(to)) ?? {}
      expect([attempts, last_error]).toEqual([1, expect.stringMatching(/55[04]/)])
      expect(String(last_error)).not.toContain(to)
      expect(triedTimes(to)).toBe(1)
    },
  )

  test('because its link is used meanwhile: it is given up at once', async () => {
    await withClock(async () => {
      mails.behave({ data: 451 })
      const person = await addPerson(sql, { email: fresh() })
      await call(service, 'POST /auth/forgot-password', { json: { email: person.email } })
      await until(async () => (await rowOf(person.email))?.last_error != null, 'it is tried')
      await sql`UPDATE latchkey.one_time_tokens SET used_at = now() WHERE user_id = ${person.id}`
      mails.behave('take')
      await tryAgain(person.email)
      expect(await rowOf(person.email)).toMatchObject({
        outcome: 'failed',
        last_error: expect.stringContaining('link'),
      })
      expect(mails.to(person.email)).toHaveLength(0)
    })
  })

  test.each<[string, (person: { id: string; email: string }) => Promise<unknown>]>([
    [
      'used',
      async ({ id }) => {
        const [row] = await sql`SELECT id FROM latchkey.one_time_tokens WHERE user_id = ${id}`
        const token = tokenOf(service.context, { id: row?.id, purpose: 'reset' })
        const json = { token, new_password: 'a-quite-different-one' }
        expect((await call(service, 'POST /auth/password-reset', { json })).status).toBe(204)
      },
    ],
    ['void by a newer one', ({ email }) => call(service, 'POST /auth/forgot-password', { json: { email } })],
  ])('and whose link is %s: it is given up without waiting for its next try', async (_, end) => {
    mails.behave({ data: 451 })
    const person = await addPerson(sql, { email: fresh() })
    await call(service, 'POST /auth/forgot-password', { json: { email: person.email } })
    const isTried = async () => (await rowOf(person.email))?.last_error != null
    await until(isTried, 'it is tried')
    const waiting = await rowOf(person.email)
    await end(person)
    await deliverMails(service.context)
    const isOver = async () =>
      (await sql`SELECT outcome FROM latchkey.mails WHERE id = ${waiting?.id}`)[0]?.outcome === 'failed'
    await until(isOver, 'it is given up')
    const [row] = await sql`SELECT last_error, attempts FROM latchkey.mails WHERE id = ${waiting?.id}`
    expect(row).toEqual({ last_error: 'The link is used, void or over.', attempts: 2 })
    expect(service.context.clock()).toBeLessThan(waiting?.next_attempt_at.getTime())
  })

  test('since it dies after DATA: the mail is sent again, with the same Message-ID', async () => {
    await withClock(async () => {
      mails.behave('die-after-data')
      const to = fresh()
      await write(notice(to))
      await until(async () => (await rowOf(to))?.last_error != null, 'it is tried')
      mails.behave('take')
      await tryAgain(to)
      const [one, two] = mails.to(to)
      expect(mails.to(to)).toHaveLength(2)
      expect(two?.messageId).toBe(one?.messageId ?? '')
      expect(await rowOf(to)).toMatchObject({ outcome: 'sent', attempts: 2 })
    })
  })

  test('since it hangs: no request waits for it, and a try ends after ten seconds', async () => {
    mails.behave('hang')
    const person = await addPerson(sql, { email: fresh() })
    const start = performance.now()
    const answer = await call(service, 'POST /auth/forgot-password', { json: { email: person.email } })
    expect(answer.status).toBe(202)
    expect(performance.now() - start).toBeLessThan(TRY_LASTS_MS / 2)
    await until(
      async () => (await rowOf(person.email))?.last_error != null,
      'the try ends',
      TRY_LASTS_MS + 20_000,
    )
    expect(performance.now() - start).toBeGreaterThan(TRY_LASTS_MS - 500)
    // It may have the mail: the life of the link has begun.
    const [token] = await sql`SELECT expires_at - now() AS left FROM latchkey.one_time_tokens
      WHERE user_id = ${person.id} AND expires_at < now() + interval '31 min'`
    expect(token).toBeDefined()
  }, 240_000)

  test('since it is not there: sign-up answers as ever, and the mail waits', async () => {
    const lonely = await startService(
      { smtpUrl: secret('smtp://127.0.0.1:1'), mailFrom: 'a@example.com', emailVerification: 'optional' },
      service,
    )
    const email = fresh()
    const answer = await call(lonely, 'POST /auth/signup', {
      json: { email, password: 'correct-horse-battery' },
    })
    expect(answer.status).toBe(201)
    await until(async () => (await rowOf(email))?.last_error != null, 'it is tried')
    expect(await rowOf(email)).toMatchObject({
      outcome: null,
      last_error: expect.stringMatching(/ECONNREFUSED|connect/i),
    })
    await lonely.stop()
  })
})

describe('the connection', () => {
  const config = (url: string) => ({
    smtpUrl: secret(url),
    mailFrom: 'Ours, and theirs <no-reply@example.com>',
    publicUrl: 'https://auth.example.com',
  })
  const message = (to: string) => ({
    id: Bun.randomUUIDv7(),
    to,
    subject: 'Subject',
    text: 'Text',
    html: '<p>Text</p>',
  })
  const users = { 'user@example.com': 'p:a/s%s wörd' }
  const login = `${encodeURIComponent('user@example.com')}:${encodeURIComponent('p:a/s%s wörd')}@`
  /** Not loopback: there STARTTLS is required. */
  const host =
    Object.values(networkInterfaces())
      .flat()
      .find((each) => each?.family === 'IPv4' && !each.internal)?.address ?? ''

  test('logs in with what SMTP_URL says, and hides the password where that is refused', async () => {
    const server = await startMailServer({ users, allowInsecureAuth: true })
    const to = fresh()
    const send = createSendMail(config(`smtp://${login}127.0.0.1:${server.port}`))
    expect(await send(message(to))).toEqual({ isSent: true })
    expect((await server.next(to)).user).toBe('user@example.com')
    expect((await server.next(to)).from?.value).toEqual([
      { name: 'Ours, and theirs', address: 'no-reply@example.com' },
    ])
    const wrong = createSendMail(config(`smtp://user:wrong-one@127.0.0.1:${server.port}`))
    const sending = await wrong(message(to))
    expect(sending).toMatchObject({ isSent: false, isFinal: true })
    expect(JSON.stringify(sending)).not.toContain('wrong-one')
    await server.stop()
  })

  test.skipIf(host === '')(
    'is encrypted unless the host is this machine, and its certificate is checked',
    async () => {
      const { key, cert } = makeCertificate(`IP:${host}`)
      const [plain, encrypted] = [
        await startMailServer({ host, users, allowInsecureAuth: true }),
        await startMailServer({ host, key, cert, users }),
      ]
      const to = fresh()
      // Without STARTTLS nothing is said, the password least of all.
      const sent = await createSendMail(config(`smtp://${login}${host}:${plain.port}`))(message(to))
      expect(sent).toMatchObject({ isSent: false, wasHandedOver: false })
      expect([plain.received, plain.tried]).toEqual([[], []])
      // With an unknown certificate nothing is said either.
      const at = config(`smtp://${login}${host}:${encrypted.port}`)
      expect(await createSendMail(at)(message(to))).toMatchObject({ isSent: false })
      expect(encrypted.received).toEqual([])
      expect(await createSendMail(at, { ca: cert })(message(to))).toEqual({ isSent: true })
      expect(await encrypted.next(to)).toMatchObject({ isEncrypted: true, user: 'user@example.com' })
      await Promise.all([plain.stop(), encrypted.stop()])
    },
  )

  test('by smtps is encrypted from the start', async () => {
    const { key, cert } = makeCertificate('IP:127.0.0.1')
    const server = await startMailServer({ key, cert, secure: true })
    const to = fresh()
    const at = config(`smtps://127.0.0.1:${server.port}`)
    expect(await createSendMail(at)(message(to))).toMatchObject({ isSent: false })
    expect(await createSendMail(at, { ca: cert })(message(to))).toEqual({ isSent: true })
    expect((await server.next(to)).isEncrypted).toBe(true)
    await server.stop()
  })

  test('that is never greeted ends in time', async () => {
    const server = await startMailServer()
    server.behave('hang-at-once')
    const start = performance.now()
    const sending = await createSendMail(config(server.url), { lastsMs: 300 })(message(fresh()))
    expect(sending).toMatchObject({ isSent: false, wasHandedOver: false, isFinal: false })
    expect(performance.now() - start).toBeWithin(250, 20_000)
    await server.stop()
  })
})

describe('the life of a mailed link', () => {
  test('begins when the mail is first handed over, once', async () => {
    await withClock(async () => {
      mails.behave({ data: 451 })
      const person = await addPerson(sql, { email: fresh() })
      await call(service, 'POST /auth/forgot-password', { json: { email: person.email } })
      await until(async () => (await rowOf(person.email))?.last_error != null, 'it is tried')
      await tryAgain(person.email)
      mails.behave('take')
      // After 30 minutes and more; until then the link was not sent.
      service.advance(2 * HOUR_MS)
      await deliverMails(service.context)
      const token = tokenIn(await mails.next(person.email))
      const reset = (new_password: string) =>
        call(service, 'POST /auth/password-reset', { json: { token, new_password } })
      service.advance(29 * MINUTE_MS)
      expectProblem(await reset('short'), 'validation_failed')
      service.advance(2 * MINUTE_MS)
      expectProblem(await reset('a-quite-different-one'), 'invalid_token')
      service.advance(-2 * MINUTE_MS)
      expect((await reset('a-quite-different-one')).status).toBe(204)
    })
  })
})
