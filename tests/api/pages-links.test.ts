import { afterAll, describe, expect, test } from 'bun:test'
import { ask, signIn } from '../support/browser.ts'
import { type Answer, call, logIn } from '../support/client.ts'
import { startMailServer, tokenIn } from '../support/mail-server.ts'
import { addPerson, PASSWORD } from '../support/people.ts'
import { useService, useSql } from '../support/use-service.ts'

const mails = await startMailServer()
afterAll(() => mails.stop())

const service = useService({ ...mails.settings, emailVerification: 'optional' })
const strict = useService({ ...mails.settings, emailVerification: 'required' }, service)
const silent = useService({}, service)
const sql = useSql(service)

const fresh = () => `${Bun.randomUUIDv7()}@example.com`
const post = (path: string, form: Record<string, string>, more: { cookie?: string } = {}, at = service) =>
  ask(at, `POST ${path}`, { form, headers: more })
const goes = ({ status, headers }: Answer) => [status, headers.get('location')]
const isVerified = async (email: string) =>
  (await sql`SELECT email_verified FROM latchkey.users WHERE email = ${email}`)[0]?.email_verified

async function newcomer(): Promise<{ email: string; token: string }> {
  const email = fresh()
  expect(goes(await post('/signup', { email, password: PASSWORD }))).toEqual([303, '/login?notice=signed_up'])
  return { email, token: tokenIn(await mails.next(email)) }
}

describe('/verify-email', () => {
  test('opened by a mail scanner uses nothing up; the button and the password confirm', async () => {
    const { email, token } = await newcomer()
    for (let n = 0; n < 3; n++) {
      const page = await call(service, `GET /verify-email?token=${token}`)
      expect(page.status).toBe(200)
      expect(page.text).toContain(`name="token" value="${token}"`)
    }
    expect((await call(service, `HEAD /verify-email?token=${token}`)).status).toBeLessThan(500)
    expect(await isVerified(email)).toBe(false)
    const without = await post('/verify-email', { token })
    expect([without.status, without.text.includes('name="password"')]).toEqual([403, true])
    expect((await post('/verify-email', { token, password: 'wrong-password' })).status).toBe(401)
    expect(await isVerified(email)).toBe(false)
    expect(goes(await post('/verify-email', { token, password: PASSWORD }))).toEqual([
      303,
      '/login?notice=verified',
    ])
    expect(await isVerified(email)).toBe(true)
    const again = await post('/verify-email', { token, password: PASSWORD })
    expect(again.status).toBe(401)
    expect(again.text).toContain('This link does not work, or no longer.')
  })

  test('asks for no password in the browser of that account, and for one in another’s', async () => {
    const { email, token } = await newcomer()
    const other = await addPerson(sql, { email: fresh() })
    const stranger = await signIn(service, { email: other.email, password: PASSWORD })
    const strangers = await call(service, `GET /verify-email?token=${token}`, { headers: stranger })
    expect(strangers.text).toContain('name="password"')
    expect((await post('/verify-email', { token }, stranger)).status).toBe(403)
    const own = await signIn(service, { email, password: PASSWORD })
    const page = await call(service, `GET /verify-email?token=${token}`, { headers: own })
    expect(page.text).not.toContain('name="password"')
    expect(goes(await post('/verify-email', { token }, own))).toEqual([303, '/console'])
    expect(await isVerified(email)).toBe(true)
  })

  test('sends the link again, with one answer for every address', async () => {
    const { email } = await newcomer()
    for (const address of [email, fresh()])
      expect(goes(await post('/verify-email', { email: address }))).toEqual([
        303,
        '/verify-email?notice=mailed',
      ])
    expect(tokenIn(await mails.next(email))).toStartWith('et_')
    expect((await call(service, 'GET /verify-email?notice=mailed')).text).toContain('role="status"')
    const wrong = await post('/verify-email', { email: 'no-address' })
    expect([wrong.status, wrong.text.includes('value="no-address"')]).toEqual([422, true])
    expect((await call(silent, 'GET /verify-email')).text).not.toContain('Send it again')
  })
})

describe('/forgot-password and /reset-password', () => {
  test('a link is mailed, and sets a new password once', async () => {
    const { email } = await addPerson(sql, { email: fresh() })
    for (const address of [email, fresh()])
      expect(goes(await post('/forgot-password', { email: address }))).toEqual([
        303,
        '/forgot-password?notice=mailed',
      ])
    const token = tokenIn(await mails.next(email))
    const page = await call(service, `GET /reset-password?token=${token}`)
    expect(page.text).toContain('autocomplete="new-password"')
    const weak = await post('/reset-password', { token, new_password: 'short' })
    expect([weak.status, weak.text.includes(token)]).toEqual([422, true])
    expect(weak.text).toContain('The password must have at least 8 characters.')
    const form = { token, new_password: 'a-quite-different-one' }
    expect(goes(await post('/reset-password', form))).toEqual([303, '/login?notice=password_set'])
    expect((await logIn(service, email, 'a-quite-different-one')).access).toBeString()
    const again = await post('/reset-password', form)
    expect(again.status).toBe(401)
    expect(again.text).toContain('This link does not work, or no longer.')
  })

  test('a dead token shows the form all the same, and tells nothing', async () => {
    const [dead, none] = await Promise.all([
      call(service, 'GET /reset-password?token=et_dead'),
      call(service, 'GET /reset-password'),
    ])
    expect([dead.status, none.status]).toEqual([200, 200])
    expect(dead.text.replace('et_dead', '')).toBe(none.text)
  })

  test('without a mail server say so', async () => {
    const answer = await post('/forgot-password', { email: fresh() }, {}, silent)
    expect(answer.status).toBe(409)
    expect(answer.text).toContain('SMTP_URL')
  })
})

describe('EMAIL_VERIFICATION=required', () => {
  test('sign-up answers alike for every address, and says that a mail is on its way, not that an account is there', async () => {
    const [unverified, verified, disabled, often] = [
      await addPerson(sql, { email: fresh() }),
      await addPerson(sql, { email: fresh() }),
      await addPerson(sql, { email: fresh() }),
      await addPerson(sql, { email: fresh() }),
    ]
    await sql`UPDATE latchkey.users SET email_verified = true WHERE id = ${verified.id}`
    await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${disabled.id}`
    const signUp = async (email: string) => {
      const { status, headers, text } = await post('/signup', { email, password: PASSWORD }, {}, strict)
      headers.delete('x-request-id')
      headers.delete('date')
      return [status, Object.fromEntries(headers), text]
    }
    // Beyond the limit of the mailbox.
    for (let count = 0; count < 5; count++) await signUp(often.email)
    const [unknown, ...others] = [
      await signUp(fresh()),
      await signUp(unverified.email),
      await signUp(verified.email),
      await signUp(disabled.email),
      await signUp(often.email),
    ]
    expect(unknown?.slice(0, 2)).toEqual([303, expect.objectContaining({ location: '/login?notice=mailed' })])
    for (const other of others) expect(other).toEqual(unknown)
    const { text } = await call(strict, 'GET /login?notice=mailed')
    const [, notice] = /role="status">([^<]*)</.exec(text) ?? []
    expect(notice).toBe('Look into your mailbox: a mail to the address that you gave says how to go on.')
    expect(text).not.toContain('Your account is made')
    // The control: where no address is to be proved, the page says that the account is there.
    expect((await call(service, 'GET /login?notice=signed_up')).text).toContain('Your account is made')
  })

  test('refuses the sign-in of an unverified address, and mails the link again', async () => {
    const { email } = await addPerson(sql, { email: fresh() })
    const answer = await post('/login', { email, password: PASSWORD }, {}, strict)
    expect([answer.status, answer.headers.get('set-cookie')]).toEqual([403, null])
    expect(answer.text).toContain('Open the link that was mailed to this address')
    const token = tokenIn(await mails.next(email))
    expect((await post('/verify-email', { token, password: PASSWORD }, {}, strict)).status).toBe(303)
    expect((await post('/login', { email, password: PASSWORD }, {}, strict)).status).toBe(303)
  })
})
