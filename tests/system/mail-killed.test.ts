import { afterAll, afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { SECOND_MS } from '../../src/lib/time.ts'
import { emptyDirectory } from '../support/binary.ts'
import { call } from '../support/client.ts'
import { type Received, startMailServer, tokenIn } from '../support/mail-server.ts'
import { addPerson, connectTo } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { serve } from '../support/program.ts'
import { until } from '../support/until.ts'
import { useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

// The service of this file sends no mails: it owns the database. The servers that send are processes of their own.

const PATIENCE_MS = 30_000
const NEW_PASSWORD = 'a-quite-different-one'

const mails = await startMailServer()
afterAll(() => mails.stop())
afterEach(() => mails.behave('take'))

const service = useService()
const sql = useSql(service)

const environment = () => ({
  DATABASE_URL: service.databaseUrl,
  SECRET_KEY: service.config.secretKey?.reveal() ?? '',
  SMTP_URL: mails.url,
  MAIL_FROM: 'no-reply@auth.example.com',
})
const fresh = () => `${Bun.randomUUIDv7()}@example.com`
const rowOf = async (recipient: string) =>
  (await sql`SELECT * FROM latchkey.mails WHERE recipient = ${recipient}`)[0]
const isNoted = (recipient: string) =>
  until(async () => (await rowOf(recipient))?.outcome === 'sent', 'it is noted as sent', PATIENCE_MS)
const arrives = (recipient: string, count: number) =>
  until(() => mails.to(recipient).length >= count, `mail ${count} arrives`, PATIENCE_MS)
/** Lets the claim of a dead server, or the wait after a failed try, be over. */
const makeDue = (recipient: string) =>
  sql`UPDATE latchkey.mails SET next_attempt_at = now() WHERE recipient = ${recipient}`
const reset = (token: string) =>
  call(service, 'POST /auth/password-reset', { json: { token, new_password: NEW_PASSWORD } })

/** Expects that the mail arrived twice, as one that a mailbox can tell is the same, and that its link works once. */
async function expectSameMail([one, two, ...more]: Received[]): Promise<void> {
  expect([one?.messageId, more]).toEqual([two?.messageId ?? '', []])
  expect(one?.messageId).toEndWith('@localhost>')
  if (!one || !two) throw new Error('The mail did not arrive twice')
  expect(tokenIn(two)).toBe(tokenIn(one))
  expect((await reset(tokenIn(one))).status).toBe(204)
  expectProblem(await reset(tokenIn(two)), 'invalid_token')
}

/**
 * Holds the row of a mail from the moment at which the mail server has the mail: the process that sent the mail cannot
 * note that.
 */
async function holdRow(recipient: string) {
  const holder = connectTo(service)
  const held = Promise.withResolvers<void>()
  const release = Promise.withResolvers<void>()
  const transaction = holder.begin(async (tx) => {
    await tx`SELECT id FROM latchkey.mails WHERE recipient = ${recipient} FOR UPDATE`
    held.resolve()
    await release.promise
  })
  await Promise.race([held.promise, transaction])
  /** The connections of other processes that wait to note what became of the mail. */
  const findWaiting = async (): Promise<number[]> =>
    (
      await sql`SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
        AND query ILIKE 'update "latchkey"."mails" set%'`
    ).map(({ pid }) => pid)
  return {
    async waiting(): Promise<number[]> {
      await until(async () => (await findWaiting()).length > 0, 'the process wants to note it', PATIENCE_MS)
      return findWaiting()
    },
    async release(): Promise<void> {
      release.resolve()
      await transaction
      await holder.end()
    },
  }
}

describe('a mail whose process is killed after the mail server took it', () => {
  test('and before that was noted, is sent again by the next process when the claim is over: the same mail', async () => {
    using here = emptyDirectory()
    const person = await addPerson(sql, { email: fresh() })
    const held = Promise.withResolvers<Awaited<ReturnType<typeof holdRow>>>()
    // The row is held before the server answers DATA, so the process hears of it and cannot write it down.
    mails.behave({
      async beforeAnswer() {
        held.resolve(await holdRow(person.email))
      },
    })
    {
      await using doomed = await serve(here.path, environment())
      await call(doomed, 'POST /auth/forgot-password', { json: { email: person.email } })
      const row = await held.promise
      const [connection] = await row.waiting()
      await doomed.end('SIGKILL')
      // The statement is on its way already: without this it would be carried out for the dead process.
      await sql`SELECT pg_terminate_backend(${connection ?? 0})`
      await until(
        async () => (await sql`SELECT FROM pg_stat_activity WHERE pid = ${connection ?? 0}`).length === 0,
        'its connection is gone',
        PATIENCE_MS,
      )
      await row.release()
    }
    mails.behave('take')
    expect(mails.to(person.email)).toHaveLength(1)
    expect(await rowOf(person.email)).toMatchObject({ outcome: null, attempts: 1 })

    await using next = await serve(here.path, environment())
    // The control: another mail is sent meanwhile, and this one is not, since the dead process still has a claim to it.
    const other = await addPerson(sql, { email: fresh() })
    await call(next, 'POST /auth/forgot-password', { json: { email: other.email } })
    await isNoted(other.email)
    expect(mails.to(person.email)).toHaveLength(1)

    await makeDue(person.email)
    await isNoted(person.email)
    expect(await rowOf(person.email)).toMatchObject({ attempts: 2, last_error: null })
    await expectSameMail(mails.to(person.email))
    // The control: a mail whose process lives is sent once.
    expect(mails.to(other.email)).toHaveLength(1)
  })

  test('and after that was noted, is not sent again', async () => {
    using here = emptyDirectory()
    const person = await addPerson(sql, { email: fresh() })
    {
      await using doomed = await serve(here.path, environment())
      await call(doomed, 'POST /auth/forgot-password', { json: { email: person.email } })
      await isNoted(person.email)
      await doomed.end('SIGKILL')
    }
    await makeDue(person.email)
    await using next = await serve(here.path, environment())
    const other = await addPerson(sql, { email: fresh() })
    await call(next, 'POST /auth/forgot-password', { json: { email: other.email } })
    await isNoted(other.email)
    expect(mails.to(person.email)).toHaveLength(1)
  })
})

test('a mail whose mail server dies after DATA is sent again after ten seconds: the same mail', async () => {
  using here = emptyDirectory()
  const person = await addPerson(sql, { email: fresh() })
  await using sender = await serve(here.path, environment())
  mails.behave('die-after-data')
  await call(sender, 'POST /auth/forgot-password', { json: { email: person.email } })
  await until(async () => (await rowOf(person.email))?.last_error != null, 'it is tried', PATIENCE_MS)
  const row = await rowOf(person.email)
  expect(row).toMatchObject({ outcome: null, attempts: 1 })
  const [wait] = await sql`SELECT extract(epoch FROM next_attempt_at - created_at)::float AS seconds
    FROM latchkey.mails WHERE recipient = ${person.email}`
  expect(wait?.seconds).toBeGreaterThanOrEqual(10)
  // The mailbox may have the mail, so the life of the link has begun: 30 minutes.
  const [token] = await sql`SELECT extract(epoch FROM expires_at - created_at)::float AS seconds
    FROM latchkey.one_time_tokens WHERE user_id = ${person.id}`
  expect((token?.seconds ?? 0) * SECOND_MS).toBeLessThan(31 * 60 * SECOND_MS)
  mails.behave('take')
  await arrives(person.email, 2)
  await isNoted(person.email)
  expect(await rowOf(person.email)).toMatchObject({ attempts: 2 })
  await expectSameMail(mails.to(person.email))
})
