import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type { Page } from 'playwright-core'
import type postgres from 'postgres'
import { CHROMIUM, WITHOUT_CHROMIUM } from '../support/chromium.ts'
import { call } from '../support/client.ts'
import { addAuthenticator } from '../support/console.ts'
import { type Front, startFront } from '../support/front.ts'
import { startMailServer, tokenIn } from '../support/mail-server.ts'
import { addPerson, beginSession, connectTo, PASSWORD } from '../support/people.ts'
import { awaitTimeInStep, codeOf } from '../support/second-factors.ts'
import { until } from '../support/until.ts'
import { useConsole } from '../support/use-console.ts'

setDefaultTimeout(240_000)

const mails = await startMailServer()
afterAll(() => mails.stop())

describe.skipIf(!CHROMIUM)(`the page Account${WITHOUT_CHROMIUM}`, () => {
  let front: Front
  let sql: postgres.Sql
  const pages = useConsole(() => front)

  beforeAll(async () => {
    // Browsers have passkeys over plain http at this name alone.
    front = await startFront('localhost', '', { ...mails.settings })
    sql = connectTo(front.behind)
  })
  afterAll(async () => {
    await sql?.end()
    await front?.stop()
  })
  afterEach(() => pages.leave())

  /** Somebody new, who looks at their account. */
  async function open({ isFresh = false } = {}): Promise<{ page: Page; id: string; email: string }> {
    const { id, email } = await addPerson(sql)
    const { page } = await pages.open({ email }, 'account', { isFresh })
    return { page, id, email }
  }
  const endBrowserSessions = (id: string) =>
    sql`DELETE FROM latchkey.sessions WHERE user_id = ${id} AND kind = 'browser'`
  const makeStale = (id: string) =>
    sql`UPDATE latchkey.sessions SET auth_time = now() - interval '1 hour' WHERE user_id = ${id}`

  test('an authenticator app is set up, gives recovery codes, is asked for in place, and goes again', async () => {
    const { page, id, email } = await open()
    await page.getByRole('button', { name: 'Set up an app' }).click()
    const setUp = page.getByRole('dialog', { name: 'Set up an app' })
    const secret = (await setUp.locator('pre').textContent()) ?? ''
    await awaitTimeInStep(front.behind, 5000)
    await setUp.getByLabel('Code of your authenticator app').fill(codeOf(front.behind, secret, -1))
    await setUp.getByRole('button', { name: 'Confirm' }).click()
    const codes = page.getByRole('dialog', { name: 'Save the recovery codes now' })
    expect((await codes.locator('pre').textContent())?.split('\n')).toHaveLength(10)
    await codes.getByRole('button', { name: 'I have saved them' }).click()
    await page.getByText('10 left').waitFor()
    // The control: the password alone no longer signs anybody in.
    const logIn = () => call(front.behind, 'POST /auth/login', { json: { email, password: PASSWORD } })
    expect((await logIn()).body.code).toBe('mfa_required')

    await endBrowserSessions(id)
    await page.getByRole('button', { name: 'Remove the app' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Remove the app' }).click()
    const signIn = page.getByRole('dialog', { name: 'Sign in again' })
    await signIn.getByLabel('Password').fill(PASSWORD)
    await signIn.getByRole('button', { name: 'Sign in' }).click()
    await signIn.getByLabel('Code of your authenticator app').fill(codeOf(front.behind, secret))
    await signIn.getByRole('button', { name: 'Sign in' }).click()
    await page.getByText('It is removed.').waitFor()
    await until(async () => (await page.getByText('10 left').count()) === 0, 'the codes are gone')
    expect((await logIn()).status).toBe(200)
  })

  test('a passkey is added and renamed, and proves who it is in place of a password', async () => {
    const { page, id } = await open({ isFresh: true })
    await addAuthenticator(page)
    await page.getByRole('button', { name: 'Add a passkey' }).click()
    const adding = page.getByRole('dialog', { name: 'Add a passkey' })
    await adding.getByLabel('Name').fill('laptop')
    await adding.getByRole('button', { name: 'Add a passkey' }).click()
    await page.getByRole('button', { name: 'I have saved them' }).click()
    await page.getByRole('cell', { name: 'laptop' }).waitFor()

    await makeStale(id)
    await page.getByRole('button', { name: 'Rename' }).click()
    const renaming = page.getByRole('dialog', { name: 'Rename the passkey' })
    await renaming.getByLabel('Name').fill('phone')
    await renaming.getByRole('button', { name: 'Rename' }).click()
    const proving = page.getByRole('dialog', { name: 'Is it you?' })
    await proving.getByRole('button', { name: 'Use a passkey' }).click()
    await page.getByRole('cell', { name: 'phone' }).waitFor()

    await endBrowserSessions(id)
    await page.getByRole('button', { name: 'New recovery codes' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'New recovery codes' }).click()
    const signIn = page.getByRole('dialog', { name: 'Sign in again' })
    await signIn.getByLabel('Password').fill(PASSWORD)
    await signIn.getByRole('button', { name: 'Sign in' }).click()
    await signIn.getByRole('button', { name: 'Use a passkey' }).click()
    await page.getByRole('dialog', { name: 'Save the recovery codes now' }).waitFor()
  })

  test('a new address is proved by the link that goes there', async () => {
    const { page, id } = await open()
    const fresh = `${Bun.randomUUIDv7()}@example.com`
    await page.getByRole('button', { name: 'Change the address' }).click()
    const dialog = page.getByRole('dialog', { name: 'Change the address' })
    await dialog.getByLabel('New address').fill(fresh)
    await dialog.getByLabel('Current password').fill('wrong-password')
    await dialog.getByRole('button', { name: 'Change the address' }).click()
    await dialog.getByRole('alert').waitFor()
    expect(await dialog.getByLabel('New address').inputValue()).toBe(fresh)
    await dialog.getByLabel('Current password').fill(PASSWORD)
    await dialog.getByRole('button', { name: 'Change the address' }).click()
    await page.getByText('The link is sent to the new address.').waitFor()
    const token = tokenIn(await mails.next(fresh))
    const emailOf = async () => (await sql`SELECT email FROM latchkey.users WHERE id = ${id}`)[0]?.email
    expect(await emailOf()).not.toBe(fresh)
    await page.goto(`${front.url}/verify-email?token=${token}`)
    await page.click('button[type=submit]')
    await until(async () => (await emailOf()) === fresh, 'the address is the new one')
  })

  test('a new password ends every other session, and this one goes on', async () => {
    const { page, id, email } = await open()
    const person = { id, email, role: 'user', scopes: null, passwordChangedAt: null } as const
    const other = await beginSession(front.behind, person)
    const isGood = async () => (await call(front.behind, 'GET /auth/me', { bearer: other.access })).status
    expect(await isGood()).toBe(200)
    await page.getByLabel('Current password').fill(PASSWORD)
    await page.getByLabel('New password').fill('a-new-password-of-mine')
    await page.getByRole('button', { name: 'Change the password' }).click()
    await page.getByText('The password is changed.').waitFor()
    expect(await isGood()).toBe(401)
    await page.getByText('user.password_changed').waitFor()
    expect(page.url()).toEndWith('/console/account')
  })

  test('the own account is deleted after its address and password are typed', async () => {
    const { page, id, email } = await open()
    await page.getByRole('button', { name: 'Delete my account' }).click()
    const dialog = page.getByRole('dialog', { name: 'Delete your account?' })
    const button = dialog.getByRole('button', { name: 'Delete my account' })
    expect(await button.isDisabled()).toBe(true)
    await dialog.getByLabel('Current password').fill(PASSWORD)
    await dialog.getByLabel('To go on, type').fill(email)
    await button.click()
    await page.waitForURL(/logged-out$/)
    expect(await sql`SELECT id FROM latchkey.users WHERE id = ${id}`).toHaveLength(0)
  })
})
