import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { findWarnings } from '../../src/core/overview/warnings.ts'
import { newKey } from '../support/client.ts'
import { call } from '../support/described.ts'
import { startMailServer } from '../support/mail-server.ts'
import { addLoggedIn, addPerson } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const mails = await startMailServer()
afterAll(() => mails.stop())
afterEach(() => mails.behave('take'))
const service = useService({ ...mails.settings })
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))

const fresh = () => `${Bun.randomUUIDv7()}@example.com`
const ask = (route: string, json?: unknown, bearer = admin.access) => call(service, route, { bearer, json })
const rowOf = async (to: string) => (await sql`SELECT * FROM latchkey.mails WHERE recipient = ${to}`)[0]
/** Writes a mail into the outbox as it would be some time after it was tried. */
async function addMail(more: { outcome?: 'sent' | 'failed'; attempts?: number; error?: string } = {}) {
  const to = fresh()
  const { outcome = null, attempts = 1, error = null } = more
  const ended = outcome && new Date()
  await sql`INSERT INTO latchkey.mails (id, kind, recipient, parameters, created_at, next_attempt_at, attempts, outcome, ended_at, last_error)
    VALUES (${Bun.randomUUIDv7()}, 'password_changed', ${to}, '{"time": "noon", "ip": "secret-parameter"}', now(), now() + interval '1 h',
      ${attempts}, ${outcome}, ${ended}, ${error})`
  return { to, id: (await rowOf(to))?.id as string }
}

describe('the list of mails', () => {
  test('shows what waits, was given up and was sent, newest first, in pages', async () => {
    const [waiting, failed, sent] = [
      await addMail(),
      await addMail({ outcome: 'failed', error: '550 no' }),
      await addMail({ outcome: 'sent' }),
    ]
    const list = async (query = '') =>
      (await ask(`GET /mails${query}`)).body.items.map(({ id }: { id: string }) => id)
    expect(await list()).toEqual([sent.id, failed.id, waiting.id])
    expect(await list('?status=waiting')).toEqual([waiting.id])
    expect(await list('?status=failed')).toEqual([failed.id])
    expect(await list('?status=sent')).toEqual([sent.id])
    const { items, next_cursor } = (await ask('GET /mails?limit=2')).body
    expect(items.map(({ id }: { id: string }) => id)).toEqual([sent.id, failed.id])
    expect(await list(`?limit=2&cursor=${next_cursor}`)).toEqual([waiting.id])
    expectProblem(await ask(`GET /mails?status=sent&cursor=${next_cursor}`), 'validation_failed')
    expectProblem(await ask('GET /mails?status=lost'), 'validation_failed')
    expect(items[1]).toEqual({
      id: failed.id,
      kind: 'password_changed',
      to: failed.to,
      status: 'failed',
      attempts: 1,
      created_at: expect.any(String),
      next_attempt_at: null,
      ended_at: expect.any(String),
      last_error: '550 no',
    })
  })

  test('has neither words nor links', async () => {
    await addMail()
    const person = await addPerson(sql, { email: fresh() })
    await call(service, 'POST /auth/forgot-password', { json: { email: person.email } })
    await mails.next(person.email)
    const { text } = await ask('GET /mails')
    expect(text).toContain(person.email)
    for (const hidden of ['secret-parameter', '"et_', 'token', '/reset-password'])
      expect(text).not.toContain(hidden)
  })
})

describe('another try', () => {
  test('sends a mail that was given up, and is audited', async () => {
    const { id, to } = await addMail({ outcome: 'failed', error: '550 no' })
    const answer = await ask(`POST /mails/${id}/retry`)
    expect(answer.status).toBe(202)
    expect(answer.body).toMatchObject({ id, status: 'waiting', ended_at: null })
    await mails.next(to)
    await until(async () => (await rowOf(to))?.outcome === 'sent', 'it is noted')
    const [event] =
      await sql`SELECT actor_id, details FROM latchkey.audit_events WHERE action = 'mail.retried' AND details->>'mail_id' = ${id}`
    expect(event).toEqual({ actor_id: admin.id, details: { mail_id: id, kind: 'password_changed' } })
  })

  test('sends a mail at once that waits for its next try', async () => {
    const { id, to } = await addMail({ attempts: 2 })
    expect((await ask(`POST /mails/${id}/retry`)).status).toBe(202)
    await mails.next(to)
  })

  test('of a mail that was sent is a conflict: it is not sent twice', async () => {
    const { id, to } = await addMail({ outcome: 'sent' })
    expectProblem(await ask(`POST /mails/${id}/retry`), 'conflict')
    expect((await rowOf(to))?.outcome).toBe('sent')
    expect(mails.to(to)).toHaveLength(0)
  })

  test.each([Bun.randomUUIDv7(), 'no-id', '..%2f'])('of %s is 404', async (id) => {
    expectProblem(await ask(`POST /mails/${id}/retry`), 'not_found')
  })
})

describe('a test mail', () => {
  test('is sent from the outbox, where the list says what became of it', async () => {
    const to = fresh()
    const answer = await ask('POST /mails/test', { to: ` ${to.toUpperCase()} ` })
    expect(answer.status).toBe(202)
    expect(answer.body).toMatchObject({ kind: 'test', to, status: 'waiting', attempts: 0 })
    expect((await mails.next(to)).subject).toBe('A test mail from Latchkey')
    const listed = async () =>
      (await ask('GET /mails?status=sent')).body.items.map(({ id }: { id: string }) => id)
    await until(async () => (await listed()).includes(answer.body.id), 'it is noted')
    const [event] =
      await sql`SELECT actor_id FROM latchkey.audit_events WHERE action = 'mail.test_sent' AND details->>'to' = ${to}`
    expect(event?.actor_id).toBe(admin.id)
  })

  test('that the mail server refuses is listed with what it said', async () => {
    mails.behave({ recipient: 550 })
    const { id } = (await ask('POST /mails/test', { to: fresh() })).body
    const failed = async () =>
      (await ask('GET /mails?status=failed')).body.items.find((mail: { id: string }) => mail.id === id)
    await until(async () => (await failed()) !== undefined, 'it is given up')
    expect((await failed()).last_error).toContain('550')
  })

  test.each([
    { to: 'no-address' },
    { to: `${'a'.repeat(251)}@b.c` },
    { to: 'a@b.c\r\nBcc: d@e.f' },
    {},
    { to: 1 },
  ])('to %j is a 422', async (json) => {
    expectProblem(await ask('POST /mails/test', json), 'validation_failed')
  })
})

describe('who may', () => {
  test('admins by their own access token alone', async () => {
    const { id, to } = await addMail({ outcome: 'failed' })
    const support = await addLoggedIn(service, sql, { scopes: ['latchkey:support'] })
    const { key } = await newKey(service, admin.access, { scopes: 'latchkey:support latchkey:users.write' })
    for (const [route, json] of [
      ['GET /mails'],
      [`POST /mails/${id}/retry`],
      ['POST /mails/test', { to: fresh() }],
    ] as const) {
      expectProblem(await ask(route, json, support.access), 'forbidden')
      expectProblem(await call(service, route, { apiKey: key, json }), 'wrong_credential_kind')
    }
    expect((await rowOf(to))?.outcome).toBe('failed')
  })
})

describe('without SMTP_URL', () => {
  const silent = useService()
  const silentSql = useSql(silent)
  test('nothing is sent, and the answer names the setting', async () => {
    const { access: bearer } = await addLoggedIn(silent, silentSql, { role: 'admin' })
    for (const [route, json] of [
      [`POST /mails/${Bun.randomUUIDv7()}/retry`],
      ['POST /mails/test', { to: fresh() }],
    ] as const) {
      const answer = await call(silent, route, { bearer, json })
      expectProblem(answer, 'conflict')
      expect(answer.body.detail).toContain('SMTP_URL')
    }
    expect((await call(silent, 'GET /mails', { bearer })).body).toEqual({ items: [], next_cursor: null })
    expect((await findWarnings(silent.context)).map(({ code }) => code)).not.toContain('mail_failing')
  })
})

describe('mail_failing', () => {
  const empty = async () => {
    await sql`DELETE FROM latchkey.mails`
  }
  beforeAll(empty)
  afterEach(empty)
  const messages = async () =>
    (await findWarnings(service.context)).flatMap(({ code, message }) =>
      code === 'mail_failing' ? [message] : [],
    )

  test('where mails could not be sent three times, with what the mail server said', async () => {
    await addMail({ attempts: 2, error: '421 later' })
    expect(await messages()).toEqual([])
    await addMail({ attempts: 3, error: '421 later' })
    expect(await messages()).toEqual([expect.stringContaining('421 later')])
  })

  test('where every mail of the last hour was refused', async () => {
    await addMail({ outcome: 'failed', error: '535 wrong password' })
    expect(await messages()).toEqual([expect.stringContaining('535 wrong password')])
    // One recipient who does not exist is not the mail server.
    await addMail({ outcome: 'sent' })
    expect(await messages()).toEqual([])
  })

  test('not where a link was over before its mail was sent, nor of a refusal long ago', async () => {
    await addMail({ outcome: 'failed', error: 'The link is used, void or over.' })
    await addMail({ outcome: 'failed', error: '550 no' })
    await sql`UPDATE latchkey.mails SET ended_at = now() - interval '61 min' WHERE last_error = '550 no'`
    expect(await messages()).toEqual([])
  })
})
