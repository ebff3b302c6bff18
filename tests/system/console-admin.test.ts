import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import type { Page } from 'playwright-core'
import { NEEDS } from '../../src/api/route-table.ts'
import { CHROMIUM, WITHOUT_CHROMIUM } from '../support/chromium.ts'
import { call, newKey } from '../support/client.ts'
import { openPlace, type Signed, settle } from '../support/console.ts'
import { startMailServer, tokenIn } from '../support/mail-server.ts'
import { type AddedPerson, addLoggedIn, addPerson, beginSession, PASSWORD } from '../support/people.ts'
import { enrolTotp } from '../support/second-factors.ts'
import { until } from '../support/until.ts'
import { useConsole } from '../support/use-console.ts'
import { useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const mails = await startMailServer()
afterAll(() => mails.stop())
const service = useService({ isIssuer: true, ...mails.settings })
const sql = useSql(service)

describe.skipIf(!CHROMIUM)(`the console of admins and support${WITHOUT_CHROMIUM}`, () => {
  let admin: AddedPerson
  let signed: Signed
  const pages = useConsole(() => service)

  beforeAll(async () => {
    admin = await addPerson(sql, { role: 'admin', email: 'ada@example.com' })
  })
  afterEach(async () => {
    expect((await pages.leave()).complaints).toEqual([])
  })

  async function open(place: string, person = admin): Promise<Page> {
    signed = await pages.open(person, place)
    return signed.page
  }
  const confirm = (page: Page, name: string) =>
    page.getByRole('dialog').getByRole('button', { name, exact: true }).click()
  const isGood = async (key: string) => (await call(service, 'GET /auth/me', { apiKey: key })).status === 200

  test('a figure of the overview leads to what it counts', async () => {
    const person = await addLoggedIn(service, sql)
    await newKey(service, person.access, { name: 'soon over', scopes: 'read', expires_in_days: 3 })
    await call(service, 'POST /auth/login', { json: { email: person.email, password: 'wrong-password' } })
    const page = await open('overview')
    await page.getByRole('link', { name: /^Failed log-ins ?1$/ }).click()
    await page.getByRole('heading', { name: 'Audit' }).waitFor()
    await settle(page)
    expect(new URL(page.url()).searchParams.get('action')).toBe('user.login_failed')
    expect(await page.locator('tbody tr').count()).toBe(1)
    await page.goBack()
    await page.getByRole('link', { name: /^Expire soon ?1$/ }).click()
    await page.getByRole('heading', { name: 'All keys' }).waitFor()
    await settle(page)
    expect(await page.locator('tbody tr').allTextContents()).toEqual([expect.stringContaining('soon over')])
  })

  test('where the service is away, what was read stays, with its age', async () => {
    const page = await open('audit')
    const rows = await page.locator('tbody tr').count()
    expect(rows).toBeGreaterThan(0)
    await page.route(new RegExp(`^${service.url}/audit`), (route) =>
      route.fulfill({
        status: 503,
        json: { code: 'unavailable', detail: 'The database is away.', request_id: '000000000000-000000' },
      }),
    )
    await page.getByRole('button', { name: 'Refresh' }).click()
    await page.getByText('The database is away.').waitFor()
    await page.getByText(/Below is what was read/).waitFor()
    expect(await page.locator('tbody tr').count()).toBe(rows)
    await page.getByRole('alert').getByRole('button', { name: 'Copy the request id' }).waitFor()
    expect(signed.complaints.splice(0).every((complaint) => complaint.includes('503'))).toBe(true)
  })

  test('somebody is invited by mail, chooses a password, and is helped to another', async () => {
    const email = `${Bun.randomUUIDv7()}@example.com`
    const page = await open('users')
    await page.getByRole('button', { name: 'Create' }).click()
    await page.getByRole('dialog').getByLabel('E-mail').fill(email)
    await confirm(page, 'Create')
    await page.getByRole('heading', { name: email }).waitFor()
    const token = tokenIn(await mails.next(email))
    await page.getByRole('button', { name: 'Invite again' }).click()
    await confirm(page, 'Invite again')
    await page.getByText('The invitation is sent.').waitFor()
    const newer = tokenIn(await mails.next(email, 2))
    const choose = (json: object) => call(service, 'POST /auth/password-reset', { json })
    expect((await choose({ token, new_password: 'chosen-by-the-user' })).status).toBe(401)
    expect((await choose({ token: newer, new_password: 'chosen-by-the-user' })).status).toBe(204)

    await page.getByRole('button', { name: 'Reset password' }).click()
    await page.getByRole('dialog').getByLabel('Who delivers the link').selectOption('mail')
    await confirm(page, 'Make the link')
    await page.getByText('The link is mailed.').waitFor()
    const reset = tokenIn(await mails.next(email, 3))
    expect((await choose({ token: reset, new_password: 'chosen-once-more-now' })).status).toBe(204)
  })

  test('second factors of somebody else are shown, and removed', async () => {
    const person = await addLoggedIn(service, sql)
    await enrolTotp(service, person.access)
    const page = await open(`users/${person.id}`)
    await page.getByText('authenticator app').waitFor()
    await page.getByText('10 left').waitFor()
    await page.getByRole('button', { name: 'Remove second factors' }).click()
    await confirm(page, 'Remove second factors')
    await page.getByText('The second factors are removed.').waitFor()
    const json = { email: person.email, password: PASSWORD }
    expect((await call(service, 'POST /auth/login', { json })).status).toBe(200)
  })

  test('a file of keys is tried first, which writes nothing, and then imported', async () => {
    const person = await addPerson(sql)
    const key = `moved-${'x'.repeat(40)}`
    const owner = { email: person.email }
    const keys = [
      {
        name: 'moved',
        owner,
        scopes: 'read',
        hash: new Bun.CryptoHasher('sha256').update(key).digest('hex'),
      },
      { name: 'without an owner', owner: { email: 'nobody@example.com' }, hash: 'a'.repeat(64) },
    ]
    const page = await open('import')
    const choose = (text: string) =>
      page
        .getByLabel('File')
        .setInputFiles({ name: 'keys.json', mimeType: 'application/json', buffer: Buffer.from(text) })
    await choose('no JSON')
    await page.getByText('This file is no JSON.').waitFor()
    await choose(JSON.stringify({ keys }))
    await page.getByText('2 of 2 keys').waitFor()
    expect(await page.locator('tbody tr').allTextContents()).toEqual([
      expect.stringMatching(/^moved1.*New$/),
      expect.stringMatching(/^without an owner2.*Refused./),
    ])
    expect(await isGood(key)).toBe(false)
    await page.getByRole('button', { name: 'Import 1 key' }).click()
    await page.getByRole('heading', { name: 'What happened' }).waitFor()
    await page.getByLabel('Status').selectOption('imported')
    await page.getByRole('link', { name: 'moved' }).waitFor()
    expect(await isGood(key)).toBe(true)
    expect(page.url()).toEndWith('status=imported')
  })

  test('a test mail is sent, and one that failed is tried again', async () => {
    const to = `${Bun.randomUUIDv7()}@example.com`
    const page = await open('mail')
    mails.behave({ recipient: 550 })
    await page.getByRole('button', { name: 'Send a test' }).click()
    await page.getByRole('dialog').getByLabel('To').fill(to)
    await confirm(page, 'Send a test')
    const row = page.locator('tbody tr', { hasText: to })
    await until(async () => {
      await page.getByLabel('Status').selectOption('failed')
      await page.reload()
      return (await row.count()) === 1
    }, 'the mail is listed as failed')
    mails.behave('take')
    await row.getByRole('button', { name: 'Retry' }).click()
    await confirm(page, 'Retry')
    expect((await mails.next(to)).subject).toBeTruthy()
  })

  test('the settings are copied for support, and hold no secret', async () => {
    const page = await open('settings')
    await signed.context.grantPermissions(['clipboard-read', 'clipboard-write'])
    await page.getByRole('button', { name: 'Copy for support' }).click()
    await page.getByRole('button', { name: 'Copied' }).waitFor()
    const copied = await page.evaluate<string>('navigator.clipboard.readText()')
    expect(JSON.parse(copied)).toMatchObject({ database: { kind: 'postgres' } })
    const key = service.config.secretKey?.reveal() ?? ''
    expect(key.length).toBeGreaterThan(30)
    for (const secret of [key, service.databaseUrl, mails.url]) expect(copied).not.toContain(secret)
    expect(await page.content()).not.toContain(key)
    expect(copied).toContain('(hidden)')
  })

  test('pages of a list have addresses, and every key that a filter finds is revoked', async () => {
    const person = await addLoggedIn(service, sql)
    const { key } = await newKey(service, person.access, { name: 'another', scopes: 'read' })
    await sql`INSERT INTO latchkey.api_keys (id, user_id, name, scopes, created_at, is_active)
      SELECT uuidv7(), ${person.id}, 'many ' || n, '{read}', now(), false FROM generate_series(1, 120) AS n`
    const page = await open('all-keys?status=disabled')
    await page.getByRole('link', { name: 'Next page' }).click()
    await page.waitForURL(/cursor=/)
    const second = page.url()
    await settle(page)
    const next = page.getByRole('link', { name: 'Next page' })
    const isNew = async () => !second.endsWith((await next.getAttribute('href')) ?? '')
    await until(isNew, 'the link of the second page leads to the third')
    await next.click()
    await page.waitForURL((url) => url.href !== second)
    await until(async () => (await page.locator('tbody tr').count()) === 20, 'twenty are left')
    await page.goBack()
    await page.waitForURL(second)
    await page.goBack()
    await page.waitForURL((url) => !url.searchParams.has('cursor'))
    await until(async () => (await page.locator('tbody tr').count()) === 50, 'the first fifty are there')
    await page.getByRole('button', { name: 'Revoke all that are found' }).click()
    await page.getByText(/these 120 keys/).waitFor()
    await page.getByRole('dialog').getByLabel('Reason').fill('unused for years')
    await page.getByRole('dialog').getByLabel('To go on, type').fill('revoke')
    await confirm(page, 'Revoke all that are found')
    await page.getByText('120 keys revoked.').waitFor()
    const [{ count } = { count: 0 }] = await sql`SELECT count(*)::int FROM latchkey.api_keys
      WHERE user_id = ${person.id} AND revoked_reason = 'unused for years'`
    expect(count).toBe(120)
    expect(await isGood(key)).toBe(true)
  })

  test('what a filter lists is saved as CSV', async () => {
    const person = await addLoggedIn(service, sql)
    await newKey(service, person.access, { name: 'to be saved', scopes: 'read' })
    await newKey(service, person.access, { name: 'left out', scopes: 'read' })
    const page = await open('all-keys?query=saved')
    const save = async () => {
      const started = page.waitForEvent('download')
      await page.getByRole('button', { name: 'Export CSV' }).click()
      const download = await started
      return { name: download.suggestedFilename(), text: readFileSync(await download.path(), 'utf8') }
    }
    const keys = await save()
    expect(keys.name).toMatch(/^keys-\d{4}-\d\d-\d\d\.csv$/)
    expect(keys.text).toContain('to be saved')
    expect(keys.text).not.toContain('left out')
    await openPlace(page, service.url, 'audit?action=export.created')
    expect(await page.locator('tbody tr').count()).toBe(1)
    expect((await save()).text).toContain('export.created')
  })

  test('support has the pages of an admin without what an admin does, and every other route is refused', async () => {
    const support = await addPerson(sql, { scopes: ['latchkey:support'] })
    const page = await open('overview', support)
    expect(await page.getByRole('navigation', { name: 'Pages' }).getByRole('link').allTextContents()).toEqual(
      ['My keys', 'Service accounts', 'Account', 'Overview', 'Users', 'All keys', 'Audit'],
    )
    await openPlace(page, service.url, 'all-keys')
    expect(await page.getByRole('button', { name: 'Export CSV' }).count()).toBe(0)
    // Of an admin, support sees all and changes nothing.
    await openPlace(page, service.url, `users/${admin.id}`)
    for (const name of ['Cut off', 'End sessions', 'Revoke all keys', 'Delete', 'Edit'])
      expect([name, await page.getByRole('button', { name }).count()]).toEqual([name, 0])
    const { access } = await beginSession(service, support)
    const [asAdmin, routes] = [
      await beginSession(service, admin),
      Object.entries(NEEDS).flatMap(([route, need]) => ('admin' in need ? [route] : [])),
    ]
    expect(routes.length).toBeGreaterThan(10)
    for (const route of routes) {
      const path = route.replace(/:\w+/g, '01a21b6c-3c58-777a-bf79-8cfe62deebbc')
      const options = path.startsWith('GET') ? {} : { json: {} }
      const ask = async (bearer: string) => (await call(service, path, { ...options, bearer })).status
      expect([route, await ask(access)]).toEqual([route, 403])
      expect([route, await ask(asAdmin.access)]).not.toEqual([route, 403])
    }
  })
})
