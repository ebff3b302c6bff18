import { afterAll, describe, expect, test } from 'bun:test'
import { noticeExpiringKeys } from '../../src/core/keys/notice-expiring.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/lib/time.ts'
import { call, newKey } from '../support/client.ts'
import { startMailServer } from '../support/mail-server.ts'
import { addLoggedIn, addPerson, PASSWORD } from '../support/people.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const NEW = 'a-quite-different-one'
const mails = await startMailServer()
afterAll(() => mails.stop())

const service = useService({ ...mails.settings, trustedProxies: ['127.0.0.1/32'] })
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))

const fresh = () => `${Bun.randomUUIDv7()}@example.com`
const written = async (email: string) =>
  (await sql`SELECT kind FROM latchkey.mails WHERE recipient = ${email} ORDER BY id`).map(({ kind }) => kind)
const logIn = async (email: string, ip: string, browser: string) => {
  const headers = { 'x-forwarded-for': ip, 'user-agent': browser }
  const { status, text } = await call(service, 'POST /auth/login', {
    json: { email, password: PASSWORD },
    headers,
  })
  if (status !== 200) throw new Error(text)
}

describe('a sign-in', () => {
  test('from a new browser and a new network is told, once a day; the first one is not', async () => {
    const { email } = await addPerson(sql, { email: fresh() })
    await logIn(email, '203.0.113.7', 'One')
    // Another address of the same network; another browser in it; the known browser elsewhere.
    await logIn(email, '203.0.113.99', 'One')
    await logIn(email, '203.0.113.7', 'Two')
    await logIn(email, '198.51.100.1', 'One')
    expect(await written(email)).toEqual([])
    await logIn(email, '192.0.2.1', 'Three\u00e9 <b>')
    const mail = await mails.next(email)
    expect(mail.subject).toBe('New sign-in to your account at Latchkey')
    expect(mail.text).toContain('192.0.2.1')
    expect(String(mail.html)).not.toContain('<b>')
    await logIn(email, '192.0.99.1', 'Four')
    expect(await written(email)).toEqual(['new_sign_in'])
    service.advance(DAY_MS + MINUTE_MS)
    await logIn(email, '192.0.100.1', 'Five')
    service.advance(-DAY_MS - MINUTE_MS)
    expect(await written(email)).toEqual(['new_sign_in', 'new_sign_in'])
  })

  test('by IPv6 goes by the /48', async () => {
    const { email } = await addPerson(sql, { email: fresh() })
    await logIn(email, '2001:db8:1:1::1', 'One')
    await logIn(email, '2001:db8:1:2::1', 'Two')
    expect(await written(email)).toEqual([])
    await logIn(email, '2001:db8:2:1::1', 'Three')
    expect(await written(email)).toEqual(['new_sign_in'])
  })

  test('is compared with the last 90 days', async () => {
    const { id, email } = await addPerson(sql, { email: fresh() })
    await logIn(email, '203.0.113.7', 'One')
    await sql`UPDATE latchkey.sessions SET created_at = now() - interval '91 days' WHERE user_id = ${id}`
    await logIn(email, '203.0.113.7', 'One')
    expect(await written(email)).toEqual(['new_sign_in'])
  })
})

test('another password is told, whoever set it', async () => {
  const person = await addLoggedIn(service, sql, { email: fresh() })
  const json = { current_password: PASSWORD, new_password: NEW }
  expect((await call(service, 'POST /auth/password', { bearer: person.access, json })).status).toBe(200)
  expect((await mails.next(person.email)).subject).toBe('Your password for Latchkey was changed')
  const { body } = await call(service, `POST /users/${person.id}/password-reset`, { bearer: admin.access })
  await call(service, 'POST /auth/password-reset', {
    json: { token: body.token, new_password: 'yet-another-one' },
  })
  await mails.next(person.email, 2)
  const refused = { current_password: 'wrong-wrong', new_password: NEW }
  await call(service, 'POST /auth/password', { bearer: person.access, json: refused })
  expect(await written(person.email)).toEqual(['password_changed', 'password_changed'])
})

test('a key that somebody else revokes is told to its owner; one that its owner revokes is not', async () => {
  const person = await addLoggedIn(service, sql, { email: fresh() })
  const own = await newKey(service, person.access, { name: 'mine', scopes: ['read'] })
  const other = await newKey(service, person.access, { name: 'theirs', scopes: ['read'] })
  await call(service, `DELETE /keys/${own.id}`, { bearer: person.access })
  expect(await written(person.email)).toEqual([])
  const { status } = await call(service, `DELETE /keys/${other.id}?reason=leaked`, { bearer: admin.access })
  expect(status).toBeLessThan(300)
  const mail = await mails.next(person.email)
  expect(mail.text).toContain(`theirs (${other.id})`)
  expect(mail.text).toContain('Reason: leaked')
})

describe('keys that expire', () => {
  const add = async (userId: string, name: string, inMs: number, createdBeforeMs = 60 * DAY_MS) => {
    const now = service.context.clock()
    await sql`INSERT INTO latchkey.api_keys (id, user_id, name, scopes, created_at, expires_at)
      VALUES (${Bun.randomUUIDv7()}, ${userId}, ${name}, '{read}', ${new Date(now - createdBeforeMs)}, ${new Date(now + inMs)})`
  }
  const run = () => noticeExpiringKeys(service.context)
  const named = async (email: string, count: number) => {
    const { text = '' } = await mails.next(email, count)
    return [...text.matchAll(/^(\w+) \([0-9a-f-]{36}\): /gm)].map(([, name]) => name)
  }

  test('in 14 and in 3 days are told once each, all keys in one mail', async () => {
    const { id, email } = await addPerson(sql, { email: fresh() })
    await add(id, 'soon', 14 * DAY_MS - HOUR_MS)
    await add(id, 'sooner', 3 * DAY_MS - HOUR_MS)
    await add(id, 'later', 15 * DAY_MS)
    await add(id, 'between', 8 * DAY_MS)
    await add(id, 'short', 14 * DAY_MS - HOUR_MS, 30 * MINUTE_MS)
    await Promise.all([run(), run()])
    expect(await named(email, 1)).toEqual(['sooner', 'soon'])
    service.advance(2 * HOUR_MS)
    await run()
    service.advance(DAY_MS)
    await run()
    expect(await named(email, 2)).toEqual(['later'])
    service.advance(10 * DAY_MS)
    await run()
    expect((await named(email, 3)).sort()).toEqual(['short', 'soon'])
    service.advance(-11 * DAY_MS - 2 * HOUR_MS)
    expect(await written(email)).toHaveLength(3)
  })

  test('of a service account are told to who manages it; revoked ones and those of somebody disabled to nobody', async () => {
    const [manager, off] = [
      await addPerson(sql, { email: fresh() }),
      await addPerson(sql, { email: fresh() }),
    ]
    const account = Bun.randomUUIDv7()
    await sql`INSERT INTO latchkey.service_accounts (id, name, scopes, created_by, created_at)
      VALUES (${account}, 'robot', '{read}', ${manager.id}, now())`
    await sql`INSERT INTO latchkey.account_managers (id, service_account_id, user_id, created_at)
    SELECT gen_random_uuid(), id, created_by, now() FROM latchkey.service_accounts
    WHERE created_by IS NOT NULL ON CONFLICT DO NOTHING`
    await add(manager.id, 'robots', 3 * DAY_MS - HOUR_MS)
    await sql`UPDATE latchkey.api_keys SET user_id = NULL, service_account_id = ${account} WHERE user_id = ${manager.id}`
    await add(manager.id, 'revoked', 3 * DAY_MS - HOUR_MS)
    await sql`UPDATE latchkey.api_keys SET revoked_at = now() WHERE user_id = ${manager.id}`
    await add(off.id, 'off', 3 * DAY_MS - HOUR_MS)
    await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${off.id}`
    await run()
    expect(await named(manager.email, 1)).toEqual(['robots'])
    expect(await written(off.email)).toEqual([])
  })
})

test('a value that comes from a person adds no header and no recipient', async () => {
  const evil = 'Evil\r\nBcc: victim@example.com\r\n\r\nbody'
  const person = await addLoggedIn(service, sql, { email: fresh() })
  const key = await newKey(service, person.access, { scopes: ['read'] })
  await sql`UPDATE latchkey.api_keys SET name = ${evil} WHERE id = ${key.id}`
  await call(service, `DELETE /keys/${key.id}`, { bearer: admin.access })
  const mail = await mails.next(person.email)
  expect(mail.headers.has('bcc')).toBe(false)
  expect(mail.recipients).toEqual([person.email])
  expect(mail.text).toContain('Evil Bcc: victim@example.com body')
  expect(mails.tried).not.toContain('victim@example.com')
})
