import { afterAll, afterEach, expect, test } from 'bun:test'
import { call, newPerson } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { startMailServer, tokenIn } from '../support/mail-server.ts'
import { addPerson } from '../support/people.ts'
import { until } from '../support/until.ts'
import { useService, useSql } from '../support/use-service.ts'

const mails = await startMailServer()
afterAll(() => mails.stop())
afterEach(() => mails.behave('take'))
const service = useService({ ...mails.settings })
const sql = useSql(service)

const fresh = () => `${Bun.randomUUIDv7()}@example.com`
const run = (line: string, env: Record<string, string> = {}) =>
  runInProcess(line.split(' '), {
    env: {
      DATABASE_URL: service.databaseUrl,
      SECRET_KEY: service.config.secretKey?.reveal() ?? '',
      SMTP_URL: mails.url,
      MAIL_FROM: 'no-reply@example.com',
      ...env,
    },
  })
const json = async (line: string) => {
  const { code, out, err } = await run(`${line} --json`)
  if (code !== 0) throw new Error(err)
  return JSON.parse(out)
}

test('"mail test" sends a mail, and says what the mail server answered', async () => {
  const to = fresh()
  expect(await run(`mail test --to ${to}`)).toMatchObject({
    code: 0,
    out: `The mail server took a mail to ${to}.\n`,
  })
  expect((await mails.next(to)).subject).toBe('A test mail from Latchkey')
  mails.behave({ recipient: 550 })
  const { code, err } = await run(`mail test --to ${to}`)
  expect([code, err]).toEqual([1, expect.stringContaining('550')])
  const without = await run(`mail test --to ${to}`, { SMTP_URL: '', MAIL_FROM: '' })
  expect([without.code, without.err]).toEqual([1, expect.stringContaining('SMTP_URL')])
})

test('"mail list" and "mail retry": what failed is found, and sent again', async () => {
  mails.behave({ recipient: 550 })
  const person = await addPerson(sql, { email: fresh() })
  await call(service, 'POST /auth/forgot-password', { json: { email: person.email } })
  await until(async () => (await json('mail list --failed')).items.length === 1, 'it failed')
  const { items } = await json('mail list --failed')
  expect(items).toEqual([
    expect.objectContaining({
      kind: 'reset_password_unverified',
      to: person.email,
      status: 'failed',
      attempts: 1,
    }),
  ])
  expect((await run('mail list --failed')).out).toContain('550')
  mails.behave('take')
  expect((await run(`mail retry ${items[0].id}`)).code).toBe(0)
  expect(tokenIn(await mails.next(person.email))).toStartWith('et_')
  await until(async () => (await json('mail list')).items[0].status === 'sent', 'it is noted')
  // What was sent is not sent twice.
  expect((await run(`mail retry ${items[0].id}`)).code).toBe(1)
  expect((await run(`mail retry ${Bun.randomUUIDv7()}`)).code).toBe(1)
})

test('"users show", "users set-email" and "users verify-email"', async () => {
  const person = await newPerson(service)
  expect(await json(`users show ${person.email}`)).toMatchObject({
    id: person.id,
    email_verified: false,
    has_password: true,
    has_second_factor: false,
    first_login_at: expect.stringMatching(/Z$/),
  })
  const email = fresh()
  expect((await run(`users set-email ${person.email} ${email}`)).code).toBe(0)
  expect((await mails.next(person.email)).subject).toContain('was changed')
  expect(tokenIn(await mails.next(email))).toStartWith('et_')
  expect((await run(`users verify-email ${email}`)).code).toBe(0)
  expect((await json(`users show ${person.id}`)).email_verified).toBe(true)
  expect((await run(`users set-email ${email} no-address`)).code).toBe(1)
})

test('"jobs run" deletes what is outdated, and sends what is due', async () => {
  const to = fresh()
  await sql`INSERT INTO latchkey.mails (id, kind, recipient, parameters, created_at, next_attempt_at, ended_at, outcome)
    VALUES (gen_random_uuid(), 'password_changed', ${to}, '{}', now(), now(), now() - interval '8 days', 'sent'),
      (gen_random_uuid(), 'password_changed', ${to}, '{}', now(), now(), now() - interval '6 days', 'sent')`
  const due = fresh()
  await sql`INSERT INTO latchkey.mails (id, kind, recipient, parameters, created_at, next_attempt_at)
    VALUES (gen_random_uuid(), 'password_changed', ${due}, '{}', now(), now())`
  expect(await run('jobs run')).toMatchObject({ code: 0, out: 'Done.\n' })
  expect(await sql`SELECT 1 FROM latchkey.mails WHERE recipient = ${to}`).toHaveLength(1)
  await mails.next(due)
})

test('an admin who is made here has a verified address', async () => {
  const email = fresh()
  await run(`admin create --email ${email}`)
  const [row] = await sql`SELECT email_verified, is_sign_up FROM latchkey.users WHERE email = ${email}`
  expect(row).toEqual({ email_verified: true, is_sign_up: false })
})
