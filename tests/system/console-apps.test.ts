import { afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type { Page } from 'playwright-core'
import { addApi, addApp, addAtBrowser, askTokens, newCode, trade } from '../support/apps.ts'
import { CHROMIUM, WITHOUT_CHROMIUM } from '../support/chromium.ts'
import { call, newKey } from '../support/client.ts'
import { openPlace, type Signed, settle } from '../support/console.ts'
import { type AddedPerson, addPerson, beginSession, PASSWORD } from '../support/people.ts'
import { until } from '../support/until.ts'
import { useConsole } from '../support/use-console.ts'
import { useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const service = useService({ isIssuer: true })
const withoutApps = useService({ isIssuer: true, algorithm: 'HS256' })
const sql = useSql(service)
const sqlWithoutApps = useSql(withoutApps)

describe.skipIf(!CHROMIUM)(`the console's pages of apps${WITHOUT_CHROMIUM}`, () => {
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

  /** What the token endpoint says of a client, which has no code to trade: `invalid_grant` where its secret is right. */
  const proofOf = async (clientId: string, secret: string): Promise<string> => {
    const form = { grant_type: 'authorization_code', code: 'none', redirect_uri: 'https://a.example.com/' }
    const app = { clientId, secret }
    return (await askTokens(service, app, { ...form, code_verifier: 'v'.repeat(43) })).body.error
  }

  test('an app is made, its secret is shown once and replaced, and it is disabled and deleted', async () => {
    const page = await open('apps')
    await page.getByRole('link', { name: 'New app' }).click()
    await settle(page)
    await page.getByLabel('Name', { exact: true }).fill('Ledger')
    await page.getByLabel('Kind').selectOption('confidential')
    await page.getByLabel('Redirect URIs', { exact: true }).fill('ftp://ledger.example.com')
    // The change needs a recent proof, which the page asks for in place.
    await sql`UPDATE latchkey.sessions SET auth_time = now() - interval '1 hour' WHERE user_id = ${admin.id}`
    await page.getByRole('button', { name: 'Create' }).click()
    const proving = page.getByRole('dialog', { name: 'Is it you?' })
    await proving.getByLabel('Password').fill(PASSWORD)
    await proving.getByRole('button', { name: 'Go on' }).click()
    const field = page.getByLabel('Redirect URIs', { exact: true })
    await until(async () => (await field.getAttribute('aria-invalid')) === 'true', 'the field is marked')
    expect(await page.getByLabel('Name', { exact: true }).inputValue()).toBe('Ledger')
    await field.fill('https://ledger.example.com/back\nhttp://localhost/back')
    await page.getByLabel('Limit its scopes').check()
    await page.getByLabel('latchkey:keys.read', { exact: true }).check()
    await page.getByRole('button', { name: 'Create' }).click()
    await page.getByRole('heading', { name: 'Save the secret now' }).waitFor()
    const secret = (await page.locator('pre').first().textContent()) ?? ''
    expect(secret).toStartWith('cs_')
    const [row] = await sql`SELECT * FROM latchkey.oauth_clients WHERE name = 'Ledger'`
    expect(row).toMatchObject({
      kind: 'confidential',
      redirect_uris: ['https://ledger.example.com/back', 'http://localhost/back'],
      grants: ['authorization_code', 'refresh_token'],
      scopes: ['latchkey:keys.read'],
      first_party: false,
    })
    const id = String(row?.id)
    expect(await proofOf(id, secret)).toBe('invalid_grant')
    expect(await proofOf(id, `${secret.slice(0, -1)}~`)).toBe('invalid_client')

    await page.getByRole('link', { name: 'Account', exact: true }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Back to the secret' }).click()
    await page.getByLabel('I have saved the secret').check()
    await page.getByRole('button', { name: 'Go to the app' }).click()
    await page.getByRole('heading', { name: 'Ledger' }).waitFor()
    await settle(page)
    expect(await page.content()).not.toContain(secret)

    await page.getByRole('button', { name: 'Add a secret' }).click()
    await confirm(page, 'Add a secret')
    await page.getByRole('heading', { name: 'Save the secret now' }).waitFor()
    const newer = (await page.locator('pre').first().textContent()) ?? ''
    await page.getByLabel('I have saved the secret').check()
    await page.getByRole('button', { name: 'Go to the app' }).click()
    await page.getByText('Both secrets work.').waitFor()
    expect([await proofOf(id, secret), await proofOf(id, newer)]).toEqual(['invalid_grant', 'invalid_grant'])
    await page
      .getByRole('table', { name: 'Secrets' })
      .getByRole('row')
      .last()
      .getByRole('button', { name: 'End now' })
      .click()
    await confirm(page, 'End now')
    await page.getByText('It proves itself by this secret.').waitFor()
    expect([await proofOf(id, secret), await proofOf(id, newer)]).toEqual(['invalid_client', 'invalid_grant'])

    await page.getByRole('button', { name: 'Edit' }).click()
    await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill('Ledger two')
    await page.getByRole('dialog').getByLabel('Limit its scopes').uncheck()
    await confirm(page, 'Save')
    await page.getByRole('heading', { name: 'Ledger two' }).waitFor()
    const columns = sql`SELECT name, scopes, is_active, kind FROM latchkey.oauth_clients WHERE id = ${id}`
    expect((await columns)[0]).toMatchObject({ name: 'Ledger two', scopes: null })

    await page.getByRole('button', { name: 'Disable' }).click()
    await confirm(page, 'Disable')
    await page.getByText('It cannot act for anybody.').waitFor()
    const isActive = async () =>
      (await sql`SELECT is_active FROM latchkey.oauth_clients WHERE id = ${id}`)[0]?.is_active
    expect(await isActive()).toBe(false)
    await openPlace(page, service.url, 'apps?query=LEDGER')
    expect(await page.locator('tbody tr').allTextContents()).toEqual([expect.stringContaining('Disabled')])
    await page.getByRole('link', { name: 'Ledger two' }).click()
    await page.getByRole('button', { name: 'Enable' }).click()
    await page.getByText('The app is enabled.').waitFor()
    expect(await isActive()).toBe(true)
    await page.getByRole('button', { name: 'Delete' }).click()
    await page.getByRole('dialog').getByLabel('To go on, type').fill('Ledger two')
    await confirm(page, 'Delete')
    await page.getByText('The app is deleted.').waitFor()
    expect(await isActive()).toBeUndefined()
    // The refused proof and redirect URI, and the app that is gone.
    expect(signed.complaints.splice(0).every((complaint) => /40[34]|422/.test(complaint))).toBe(true)
  })

  test('an app that describes itself shows its URL, and can only be disabled and deleted', async () => {
    const clientId = 'https://agent.example.com/metadata.json'
    const { id } = await addApp(sql, { source: 'metadata', clientId, name: 'Agent' })
    await addApp(sql, { name: 'Registered' })
    const page = await open('apps?source=metadata')
    expect(await page.locator('tbody tr').allTextContents()).toEqual([expect.stringContaining(clientId)])
    await page.getByRole('link', { name: 'Agent' }).click()
    await page.waitForURL(new RegExp(`apps/${id}$`))
    await page.getByText('It describes itself at the URL below').waitFor()
    await page.getByText(clientId, { exact: true }).waitFor()
    expect(await page.getByRole('button', { name: 'Edit' }).count()).toBe(0)
    expect(await page.getByRole('button', { name: 'Disable' }).count()).toBe(1)
    expect(await page.getByRole('heading', { name: 'Secrets' }).count()).toBe(0)
  })

  test('an API is made with its scopes, changed, disabled and deleted; the own one is only shown', async () => {
    const page = await open('apis')
    await page.getByRole('button', { name: 'New API' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('Name').first().fill('Notes')
    await dialog.getByLabel('Identifier').fill('https://notes.example.com/mcp')
    await dialog.getByLabel('Short name').fill('latchkey')
    const scope = (number: number) => dialog.getByRole('group', { name: `Scope ${number}` })
    await scope(1).getByLabel('Name').fill('notes.read')
    await scope(1).getByLabel('Description').fill('Read your notes')
    await dialog.getByRole('button', { name: 'Add a scope' }).click()
    await dialog.getByRole('button', { name: 'Add a scope' }).click()
    await dialog.getByRole('button', { name: 'Remove scope 2' }).click()
    await scope(2).getByLabel('Name').fill('notes.purge')
    await scope(2).getByLabel('Description').fill('Delete notes for good')
    await scope(2).getByLabel('Who may grant it').selectOption('ceiling')
    await confirm(page, 'Create')
    await dialog.getByRole('alert').waitFor()
    await dialog.getByLabel('Short name').fill('notes-mcp')
    await confirm(page, 'Create')
    await page.getByRole('heading', { name: 'Notes', exact: true }).waitFor()
    const read = async () => (await sql`SELECT * FROM latchkey.resources WHERE slug = 'notes-mcp'`)[0]
    const purge = { name: 'notes.purge', description: 'Delete notes for good', grantable_by: 'ceiling' }
    expect(await read()).toMatchObject({
      identifier: 'https://notes.example.com/mcp',
      scopes: [{ name: 'notes.read', description: 'Read your notes', grantable_by: 'everyone' }, purge],
      token_lifetime_seconds: null,
    })

    await page.getByRole('button', { name: 'Edit' }).click()
    await dialog.getByRole('button', { name: 'Remove scope 1' }).click()
    await dialog.getByLabel('Lifetime of tokens').fill('300')
    await confirm(page, 'Save')
    await page.getByText('The change is saved.').waitFor()
    expect(await read()).toMatchObject({ scopes: [purge], token_lifetime_seconds: 300 })

    await page.getByRole('button', { name: 'Disable' }).click()
    await confirm(page, 'Disable')
    await page.getByText('The API is disabled.').waitFor()
    expect(await read()).toMatchObject({ is_active: false })
    await page.getByRole('button', { name: 'Delete' }).click()
    await dialog.getByLabel('To go on, type').fill('Notes')
    await confirm(page, 'Delete')
    await page.getByText('The API is deleted.').waitFor()
    expect(await read()).toBeUndefined()

    await page.getByRole('link', { name: 'Latchkey', exact: true }).last().click()
    await page.getByText('This is Latchkey itself').waitFor()
    await page.getByRole('cell', { name: 'latchkey:keys.read' }).waitFor()
    for (const name of ['Edit', 'Disable', 'Delete'])
      expect([name, await page.getByRole('button', { name }).count()]).toEqual([name, 0])
    // The name that is taken, and the API that is gone.
    expect(signed.complaints.splice(0).every((complaint) => /40[49]/.test(complaint))).toBe(true)
  })

  /** Somebody who allowed an app, and a key that the app made. */
  async function allowed(name: string) {
    const person = await addAtBrowser(service, sql)
    const app = await addApp(sql, { name })
    const api = await addApi(sql)
    const code = await newCode(service, person, app, { resource: api.identifier, scopes: ['notes.read'] })
    expect((await trade(service, app, code)).status).toBe(200)
    const { access } = await beginSession(service, person)
    const [grant] = (await call(service, 'GET /auth/grants', { bearer: access })).body.items
    const key = await newKey(service, access, { scopes: 'read' })
    await sql`UPDATE latchkey.api_keys SET created_by = ${grant.id} WHERE id = ${key.id}`
    const grants = async () =>
      (await call(service, 'GET /auth/grants', { bearer: access })).body.items.length as number
    const isKeyGood = async () => (await call(service, 'GET /auth/me', { apiKey: key.key })).status === 200
    return { person, api, grants, isKeyGood }
  }

  test('a person disconnects an app, and its keys end where they say so', async () => {
    const { person, api, grants, isKeyGood } = await allowed('Notebook')
    const page = await open('account', person)
    const row = page.getByRole('table', { name: 'Connected apps' }).locator('tbody tr')
    for (const text of ['Notebook', 'Registered by an admin', api.identifier, 'notes.read'])
      expect(await row.textContent()).toContain(text)
    await row.getByRole('button', { name: 'Disconnect' }).click()
    await page.getByText('1 session of it').waitFor()
    expect([await grants(), await isKeyGood()]).toEqual([1, true])
    await page.getByRole('dialog').getByLabel('Also revoke the keys that it made').check()
    await confirm(page, 'Disconnect')
    await page.getByText('No app is connected.').waitFor()
    expect([await grants(), await isKeyGood()]).toEqual([0, false])
  })

  test('an admin disconnects an app of somebody else, whose keys go on; support is shown none', async () => {
    const { person, grants, isKeyGood } = await allowed('Calendar')
    const page = await open(`users/${person.id}`)
    await page.getByRole('tab', { name: 'Connected apps' }).click()
    await page.getByRole('button', { name: 'Disconnect' }).click()
    await confirm(page, 'Disconnect')
    await page.getByText('No app is connected.').waitFor()
    expect([await grants(), await isKeyGood()]).toEqual([0, true])
    const support = await addPerson(sql, { scopes: ['latchkey:support'] })
    const asSupport = await open(`users/${person.id}`, support)
    await asSupport.getByRole('tab', { name: 'Sessions' }).waitFor()
    expect(await asSupport.getByRole('tab', { name: 'Connected apps' }).count()).toBe(0)
  })

  test('with ALGORITHM=HS256 there are no such pages', async () => {
    const links = (page: Page) =>
      page.getByRole('navigation', { name: 'Pages' }).getByRole('link').allTextContents()
    expect(await links(await open('account'))).toEqual(expect.arrayContaining(['Apps', 'APIs']))
    await signed.page.getByRole('heading', { name: 'Connected apps' }).waitFor()
    const { email } = await addPerson(sqlWithoutApps, { role: 'admin' })
    const { page } = await pages.open({ email }, 'account', { base: withoutApps.url })
    expect(await page.getByRole('heading', { name: 'Connected apps' }).count()).toBe(0)
    expect(await page.getByRole('heading', { name: 'Sessions' }).count()).toBe(1)
    expect(await links(page)).not.toEqual(expect.arrayContaining(['Apps']))
    for (const place of ['apps', 'apis']) {
      await openPlace(page, withoutApps.url, place)
      await page.getByRole('heading', { name: 'There is nothing here' }).waitFor()
    }
  })
})
