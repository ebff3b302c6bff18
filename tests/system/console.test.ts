import { afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdirSync } from 'node:fs'
import type { Page } from 'playwright-core'
import { addApi, addApp, newCode } from '../support/apps.ts'
import { signIn } from '../support/browser.ts'
import { CHROMIUM, WITHOUT_CHROMIUM } from '../support/chromium.ts'
import { call, newKey } from '../support/client.ts'
import { findBarriers, openPlace, PHONE, type Signed, settle, walkByKeyboard } from '../support/console.ts'
import { type AddedPerson, addPerson, beginSession, LABELLER, PASSWORD } from '../support/people.ts'
import { until } from '../support/until.ts'
import { type Opening, useConsole } from '../support/use-console.ts'
import { useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

/** Markup, a direction, an emoji, and as long as a name may be. */
const HOSTILE = `<img src=x onerror=alert(1)> \u202Egnp.exe 🔑 ${'a'.repeat(60)}`.slice(0, 100)

const service = useService({ isIssuer: true })
const sql = useSql(service)
let admin: AddedPerson
let user: AddedPerson
let access: string
/** A key with everything that a key can have. */
let rich: { id: string; key: string }
let account: { id: string }
let app: { id: string }
let api: { id: string }

/** Pictures for the eye, where a directory is named: PICTURES=/tmp/pictures bun test … */
const PICTURES = process.env.PICTURES

describe.skipIf(!CHROMIUM)(`the console${WITHOUT_CHROMIUM}`, () => {
  beforeAll(async () => {
    if (PICTURES) mkdirSync(PICTURES, { recursive: true })
    admin = await addPerson(sql, { role: 'admin', email: 'ada@example.com' })
    user = await addPerson(sql, { email: 'bob@example.com', scopes: LABELLER })
    const owner = await beginSession(service, user)
    access = owner.access
    const limits = { rate_limit: { limit: 100, window_seconds: 60 }, credits: { remaining: 40 } }
    const more = { allowed_ips: ['203.0.113.0/24'], metadata: { plan: 'pro' }, expires_in_days: 5 }
    rich = await newKey(service, access, { name: 'checkout', scopes: 'read', ...limits, ...more })
    await call(service, `POST /keys/${rich.id}/rotate`, { bearer: access, json: {} })
    const hostile = await newKey(service, access, { name: HOSTILE, scopes: 'read' })
    await sql`INSERT INTO latchkey.key_usage (key_id, hour, outcome, count)
      SELECT ${rich.id}::uuid, date_trunc('hour', now()) - at * interval '1 hour', 'VALID', 7 FROM generate_series(0, 719) AS at
      UNION ALL SELECT ${hostile.id}::uuid, date_trunc('hour', now()), 'VALID', 1`
    const json = { name: HOSTILE, scopes: 'read' }
    account = (await call(service, 'POST /service-accounts', { bearer: access, json })).body
    api = await addApi(sql)
    app = await addApp(sql, { kind: 'confidential', name: HOSTILE, scopes: ['notes.read'] })
    for (const { email } of [admin, user]) {
      const person = await signIn(service, { email, password: PASSWORD })
      await newCode(service, person, await addApp(sql, { name: HOSTILE }), {
        resource: (await addApi(sql)).identifier,
        scopes: ['notes.read'],
      })
    }
  })

  const pages = useConsole(() => service)
  let signed: Signed
  const enter = async (person: AddedPerson, place = 'keys', how: Opening = {}): Promise<Page> => {
    signed = await pages.open(person, place, how)
    return signed.page
  }
  afterEach(async () => {
    // A violation of the policy is a complaint, and so is an error of a script.
    const { complaints, requested } = await pages.leave()
    expect(complaints).toEqual([])
    expect(requested.filter((url) => !url.startsWith(service.url) && !url.startsWith('data:'))).toEqual([])
  })

  const placesOf = () => [
    'keys',
    'keys/new',
    `keys/${rich.id}`,
    'service-accounts',
    `service-accounts/${account.id}`,
    'account',
    'overview',
    'users',
    `users/${user.id}`,
    'all-keys',
    `users/${user.id}?tab=grants`,
    'audit',
    'apps',
    'apps/new',
    `apps/${app.id}`,
    'apis',
    `apis/${api.id}`,
    'signing-keys',
    'import',
    'mail',
    'settings',
    'nowhere',
  ]
  /** The pages that show the hostile name. */
  const namesAt = () => [
    `users/${user.id}`,
    `users/${user.id}?tab=grants`,
    'apps',
    `apps/${app.id}`,
    'account',
    'overview',
    'all-keys',
    'service-accounts',
    `service-accounts/${account.id}`,
  ]

  /** Looks at a page: a heading with the focus, no barrier, nothing wider than the screen. */
  async function look(page: Page, place: string, name: string): Promise<void> {
    await openPlace(page, service.url, place)
    if (PICTURES) {
      const file = `${place.replaceAll(/[/?=]/g, '-').replace(/[0-9a-f]{8}(-\w+)+/, 'one')}-${name}`
      await page.screenshot({ path: `${PICTURES}/${file}.png`, fullPage: true })
    }
    expect(`${place}: ${await page.evaluate('document.activeElement.tagName')}`).toBe(`${place}: H1`)
    const excess = await page.evaluate('document.documentElement.scrollWidth - innerWidth')
    expect(`${place}: ${excess} px too wide`).toBe(`${place}: 0 px too wide`)
    expect(await findBarriers(page)).toEqual([])
  }

  test('every page, on a desktop and light, is reached by the keyboard, has no barrier for axe-core and breaks no policy, and a hostile name is text on it', async () => {
    const page = await enter(admin)
    expect(placesOf()).toEqual(expect.arrayContaining(namesAt()))
    for (const place of placesOf()) {
      await look(page, place, 'desktop')
      if (namesAt().includes(place)) await page.getByText(HOSTILE.slice(0, 28)).first().waitFor()
      expect({ place, images: await page.locator('img[src=x]').count() }).toEqual({ place, images: 0 })
      expect({ place, missed: await walkByKeyboard(page) }).toEqual({ place, missed: [] })
    }
  })

  test('pages on a phone and dark', async () => {
    const page = await enter(admin, 'keys', { look: PHONE })
    for (const place of [
      'keys',
      `keys/${rich.id}`,
      'keys/new',
      'overview',
      `users/${user.id}`,
      'all-keys',
      'apps',
      'account',
    ])
      await look(page, place, 'phone')
  })

  test('the control: axe-core finds a barrier, and the policy a violation', async () => {
    const page = await enter(user)
    await page.evaluate("document.querySelector('main').append(document.createElement('input'))")
    expect(await findBarriers(page)).toEqual([expect.stringContaining('label: <input>')])
    const trap =
      "document.querySelector('main input').addEventListener('focus', ({ target }) => target.blur())"
    await page.evaluate(trap)
    expect((await walkByKeyboard(page)).join()).toContain('<input')
    const inject = "document.body.innerHTML = '<p></p>'"
    await page.evaluate(inject).catch(() => undefined)
    expect(signed.complaints.splice(0).join()).toContain('TrustedHTML')
  })

  test('a key is made by the keyboard alone, is shown once, and leaving asks whether it is saved', async () => {
    const page = await enter(user)
    // From the heading: to "Create".
    await page.keyboard.press('Tab')
    await page.keyboard.press('Enter')
    await page.waitForURL(/keys\/new$/)
    await settle(page)
    await page.keyboard.press('Tab')
    await page.keyboard.type('by keyboard')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Space')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Save the key now' }).waitFor()
    const key = (await page.locator('pre').first().textContent()) ?? ''
    expect(await page.locator('pre').nth(1).textContent()).toBe(`LATCHKEY_API_KEY=${key}`)
    expect(await findBarriers(page)).toEqual([])
    const me = await call(service, 'GET /auth/me', { apiKey: key })
    expect([me.status, me.body.scopes]).toEqual([200, ['read']])

    await page.getByRole('link', { name: 'Account', exact: true }).click()
    const dialog = page.getByRole('dialog', { name: 'Did you save it?' })
    await dialog.waitFor()
    await page.keyboard.press('Escape')
    await dialog.waitFor({ state: 'detached' })
    expect(await page.locator('pre').first().textContent()).toBe(key)
    await page.goBack()
    await dialog.waitFor()
    await dialog.getByRole('button', { name: 'Back to the key' }).click()
    const asked = page.waitForEvent('dialog')
    const closing = page.close({ runBeforeUnload: true })
    const question = await asked
    expect(question.type()).toBe('beforeunload')
    await question.dismiss()
    await closing

    await page.getByLabel('I have saved the key').check()
    await page.getByRole('button', { name: 'Go to the key' }).click()
    await page.getByRole('heading', { name: 'by keyboard' }).waitFor()
    expect(await page.content()).not.toContain(key)
  })

  test('what the API refuses stands at its field, and what is typed stays', async () => {
    const page = await enter(user, 'keys/new')
    await page.getByLabel('Name').fill('typed')
    await page.getByText('More: addresses').click()
    await page.getByLabel('Allowed addresses').fill('not an address')
    await page.getByRole('button', { name: 'Create' }).click()
    const field = page.getByLabel('Allowed addresses')
    await until(async () => (await field.getAttribute('aria-invalid')) === 'true', 'the field is marked')
    expect(await page.getByLabel('Name').inputValue()).toBe('typed')
    await page.getByRole('button', { name: 'Copy the request id' }).waitFor()
    expect(signed.complaints.splice(0)).toEqual([expect.stringContaining('422')])
  })

  test('"Why is it refused?" names each check', async () => {
    const page = await enter(user, `keys/${rich.id}`)
    await page.getByLabel('Scopes that are needed').fill('write')
    await page.getByLabel('Address of the client').fill('203.0.113.9')
    await page.getByRole('button', { name: 'Why is it refused?' }).click()
    await page.getByText('It would be refused: INSUFFICIENT_SCOPE.').waitFor()
    const checks = await page.locator('.checks li').allTextContents()
    expect(checks.filter((check) => check.startsWith('✗'))).toEqual([
      '✗A scope is missing INSUFFICIENT_SCOPE',
    ])
    expect(checks.filter((check) => check.startsWith('✓'))).toHaveLength(7)
  })

  test('the chart is a table where one is asked for, and its range is in the URL', async () => {
    const page = await enter(user, `keys/${rich.id}`)
    await page.locator('.plot svg').waitFor()
    await page.getByRole('button', { name: '24 h' }).click()
    await page.waitForURL(/range=24h$/)
    await page.getByRole('button', { name: 'Show as table' }).click()
    const table = page.getByRole('table', { name: 'Usage' })
    expect(await table.getByRole('row').count()).toBe(25)
  })

  test('revoking asks for the name of the key, and works from the next request on', async () => {
    const { id, key } = await newKey(service, access, { name: 'to be revoked', scopes: 'read' })
    const page = await enter(user, `keys/${id}`)
    await page.getByRole('button', { name: 'Revoke' }).click()
    const dialog = page.getByRole('dialog')
    const button = dialog.getByRole('button', { name: 'Revoke' })
    expect(await button.isDisabled()).toBe(true)
    expect((await call(service, 'GET /auth/me', { apiKey: key })).status).toBe(200)
    await dialog.getByLabel('Reason').fill('found in a log')
    await dialog.getByLabel('To go on, type').fill('to be revoked')
    await button.click()
    await page.getByText('found in a log').first().waitFor()
    expect((await call(service, 'GET /auth/me', { apiKey: key })).status).toBe(401)
  })

  test('keys are searched, and the search is in the URL', async () => {
    const page = await enter(user)
    await page.getByLabel('Search').fill('check')
    await page.waitForURL(/query=check$/)
    await until(async () => (await page.locator('tbody tr').count()) === 1, 'one key is left')
    await page.reload()
    await settle(page)
    expect(await page.locator('tbody tr').allTextContents()).toEqual([expect.stringContaining('checkout')])
  })

  test('a whole key is searched for by its hash alone, also one of a foreign shape', async () => {
    const foreign = 'acme-live-Zm9yZWlnbi1zaGFwZQ-0123456789'
    const admins = await beginSession(service, admin)
    const keys = [{ name: 'moved from elsewhere', owner: { user_id: user.id }, key: foreign, scopes: 'read' }]
    const imported = await call(service, 'POST /keys/import', { bearer: admins.access, json: { keys } })
    expect(imported.body.results).toEqual([expect.objectContaining({ status: 'imported' })])
    const page = await enter(admin)
    const sent: string[] = []
    page.on('request', (request) => sent.push(`${request.url()} ${request.postData() ?? ''}`))
    await settle(page)
    for (const text of [`${foreign}x`, foreign]) {
      await page.keyboard.press('/')
      const dialog = page.getByRole('dialog', { name: 'Find anything' })
      await dialog.getByLabel('Search').fill(text)
      await page.keyboard.press('Enter')
      if (text !== foreign) {
        await dialog.getByText('No key is known by this secret.').waitFor()
        expect(await dialog.getByLabel('Search').inputValue()).toBe('')
        await page.keyboard.press('Escape')
      }
    }
    await page.getByRole('heading', { name: 'moved from elsewhere' }).waitFor()
    await settle(page)
    expect(page.url()).toEndWith(`/console/keys/${imported.body.results[0].id}`)
    const whole = sent.join()
    expect(whole).toContain(new Bun.CryptoHasher('sha256').update(foreign).digest('hex'))
    // Neither the key nor a part of it.
    expect(whole).not.toContain(foreign.slice(0, 12))
  })

  test('an id, an address and a name lead to where they belong', async () => {
    const page = await enter(admin)
    const search = async (text: string) => {
      await page.keyboard.press('Control+k')
      await page.getByRole('dialog').getByLabel('Search').fill(text)
      await page.keyboard.press('Enter')
    }
    await search(account.id)
    await page.waitForURL(`${service.url}/console/service-accounts/${account.id}`)
    await search(user.id)
    await page.waitForURL(`${service.url}/console/users/${user.id}`)
    await search(app.id)
    await page.waitForURL(`${service.url}/console/apps/${app.id}`)
    await search(api.id)
    await page.waitForURL(`${service.url}/console/apis/${api.id}`)
    await search('bob@example')
    await page.waitForURL(`${service.url}/console/users?query=bob%40example`)
    await page.getByRole('link', { name: 'bob@example.com' }).waitFor()
    await search('checkout')
    await page.waitForURL(`${service.url}/console/all-keys?query=checkout`)
    await page.getByRole('link', { name: 'checkout' }).waitFor()
    // Each place of an id that is not there answers 404.
    expect(signed.complaints.splice(0).every((complaint) => complaint.includes('404'))).toBe(true)
  })

  test('an admin cuts a user off: sessions and keys end at once, and an admin undoes it', async () => {
    const person = await addPerson(sql, { email: 'carl@example.com' })
    const session = await beginSession(service, person)
    const { key } = await newKey(service, session.access, { scopes: 'read' })
    const page = await enter(admin, `users/${person.id}`)
    await page.getByRole('button', { name: 'Cut off' }).click()
    await page.getByText(/1 key stop/).waitFor()
    await page.getByRole('dialog').getByRole('button', { name: 'Cut off' }).click()
    await page.getByText('The user is cut off.').waitFor()
    expect((await call(service, 'GET /auth/me', { apiKey: key })).status).toBe(401)
    expect((await call(service, 'GET /auth/me', { bearer: session.access })).status).toBe(401)
    await page.getByRole('button', { name: 'Enable' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Enable' }).click()
    await page.getByText('The user is enabled.').waitFor()
    expect((await call(service, 'GET /auth/me', { apiKey: key })).status).toBe(200)
  })

  test('support goes from an e-mail to "revoked" in six actions, and has no action of an admin', async () => {
    const { key } = await newKey(service, access, { name: 'leaked', scopes: 'read' })
    const support = await addPerson(sql, { email: 'sue@example.com', scopes: ['latchkey:support'] })
    const page = await enter(support)
    let actions = 0
    const act = async (action: () => Promise<unknown>) => {
      actions += 1
      await action()
    }
    await act(() => page.keyboard.press('/'))
    await act(async () => {
      await page.getByRole('dialog').getByLabel('Search').fill('bob@example.com')
      await page.keyboard.press('Enter')
    })
    await act(() => page.getByRole('link', { name: 'bob@example.com' }).click())
    await page.getByRole('tab', { name: 'Keys' }).waitFor()
    await page.locator('.page-head button').first().waitFor()
    const offered = await page.locator('.page-head button').allTextContents()
    expect(offered).toEqual(['Cut off'])
    await act(() => page.getByRole('link', { name: 'leaked' }).click())
    await act(() => page.getByRole('button', { name: 'Revoke' }).click())
    await act(async () => {
      await page.getByRole('dialog').getByLabel('To go on, type').fill('leaked')
      await page.keyboard.press('Enter')
    })
    await page.getByText('The key is revoked.').waitFor()
    expect(actions).toBeLessThanOrEqual(6)
    expect((await call(service, 'GET /auth/me', { apiKey: key })).status).toBe(401)
  })

  test('a user finds no page of an admin in the menu, and the API refuses what is typed', async () => {
    const page = await enter(user)
    expect(await page.getByRole('navigation').getByRole('link').allTextContents()).toEqual([
      'My keys',
      'Service accounts',
      'Account',
    ])
    await openPlace(page, service.url, 'users')
    await page.getByRole('alert').waitFor()
    expect(signed.complaints.splice(0).join()).toContain('403')
  })

  test('signed out in one tab is signed out in the other within two seconds', async () => {
    const page = await enter(user)
    const other = await signed.context.newPage()
    await openPlace(other, service.url, 'account')
    await page.getByRole('button', { name: 'Sign out' }).click()
    const arrivals = [page, other].map((tab) => tab.waitForURL(/logged-out$/).then(() => performance.now()))
    const [here = 0, there = Infinity] = await Promise.all(arrivals)
    expect(there - here).toBeLessThan(2_000)
    await other.goto(`${service.url}/console/account`)
    await other.waitForURL(/\/login\?return_to=%2Fconsole%2Faccount$/)
    expect(signed.complaints.splice(0)).toEqual([expect.stringContaining('401')])
  })

  test('a session that ended is signed in again in place, and the form stays', async () => {
    const page = await enter(user, 'keys/new')
    await page.getByLabel('Name').fill('half done')
    await sql`DELETE FROM latchkey.sessions WHERE user_id = ${user.id} AND kind = 'browser'`
    await page.getByRole('button', { name: 'Create' }).click()
    const dialog = page.getByRole('dialog', { name: 'Sign in again' })
    await dialog.getByLabel('Password').fill('correct-horse-battery')
    await dialog.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: 'Save the key now' }).waitFor()
    expect(signed.complaints.splice(0).every((complaint) => complaint.includes('401'))).toBe(true)
    await page.getByLabel('I have saved the key').check()
  })

  test('what needs recent authentication asks for it in place, and then goes on', async () => {
    const page = await enter(user, 'account')
    await sql`UPDATE latchkey.sessions SET auth_time = now() - interval '1 hour' WHERE user_id = ${user.id}`
    await page.getByRole('button', { name: 'Set up an app' }).click()
    const dialog = page.getByRole('dialog', { name: 'Is it you?' })
    await dialog.getByLabel('Password').fill('wrong')
    await dialog.getByRole('button', { name: 'Go on' }).click()
    await dialog.getByRole('alert').waitFor()
    await dialog.getByLabel('Password').fill('correct-horse-battery')
    await dialog.getByRole('button', { name: 'Go on' }).click()
    await page.getByRole('dialog', { name: 'Set up an app' }).waitFor()
    // The QR code is an image of its own, from which nothing runs.
    await until(
      async () => page.evaluate("document.querySelector('img.qr').naturalWidth > 0"),
      'the image is drawn',
    )
    expect(signed.complaints.splice(0).every((complaint) => /40[13]/.test(complaint))).toBe(true)
  })

  test('who does nothing for five minutes has no further token asked for', async () => {
    const page = await enter(admin, 'keys', { isFresh: true })
    await page.clock.install()
    await openPlace(page, service.url, 'audit')
    await page.getByLabel('Every 5 seconds').check()
    const tokens = () => signed.requested.filter((url) => url.endsWith('/session/token')).length
    const before = tokens()
    await page.clock.runFor('06:00')
    const later = tokens()
    await page.clock.runFor('06:00')
    expect(tokens()).toBe(later)
    // The control: there again, the page asks.
    await page.mouse.move(5, 5)
    await page.keyboard.press('Shift')
    await until(async () => tokens() > later, 'a token is asked for')
    expect(later).toBeGreaterThanOrEqual(before)
  })
})
