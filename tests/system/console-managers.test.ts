import { afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type { Page } from 'playwright-core'
import { CHROMIUM, WITHOUT_CHROMIUM } from '../support/chromium.ts'
import { call } from '../support/client.ts'
import { findBarriers, type Signed, settle } from '../support/console.ts'
import { type AddedPerson, addPerson, beginSession, LABELLER } from '../support/people.ts'
import { useConsole } from '../support/use-console.ts'
import { useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const service = useService({ isIssuer: true })
const sql = useSql(service)

describe.skipIf(!CHROMIUM)(`the managers of a service account in the console${WITHOUT_CHROMIUM}`, () => {
  let maker: AddedPerson
  let other: AddedPerson
  let account: { id: string }
  let access: string
  let signed: Signed
  const pages = useConsole(() => service)

  beforeAll(async () => {
    maker = await addPerson(sql, { email: 'ada@example.com' })
    other = await addPerson(sql, { email: 'bob@example.com', scopes: LABELLER })
    await sql`UPDATE latchkey.users SET email_verified = true`
    access = (await beginSession(service, maker)).access
    account = await newAccount('reports')
  })
  afterEach(async () => {
    expect((await pages.leave()).complaints).toEqual([])
  })

  const newAccount = async (name: string): Promise<{ id: string }> => {
    const json = { name, scopes: 'read' }
    return (await call(service, 'POST /service-accounts', { bearer: access, json })).body
  }
  const managersOf = async (): Promise<{ type: string; id: string }[]> =>
    (await call(service, `GET /service-accounts/${account.id}`, { bearer: access })).body.managers
  const open = async (person: AddedPerson): Promise<Page> => {
    signed = await pages.open(person, `service-accounts/${account.id}`)
    return signed.page
  }
  const add = async (page: Page, who: string) => {
    await page.getByRole('button', { name: 'Add a manager' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('E-mail or id').fill(who)
    await dialog.getByRole('button', { name: 'Add a manager' }).click()
    return dialog
  }
  const rows = (page: Page) => page.getByRole('table', { name: 'Managers' }).locator('tbody tr')

  test('a manager adds another by address and removes them', async () => {
    const page = await open(maker)
    expect(await rows(page).allTextContents()).toEqual([expect.stringContaining('You')])
    const dialog = await add(page, 'nobody@example.com')
    await dialog.getByRole('alert').waitFor()
    expect(await dialog.getByLabel('E-mail or id').inputValue()).toBe('nobody@example.com')
    await dialog.getByLabel('E-mail or id').fill(other.email)
    await dialog.getByRole('button', { name: 'Add a manager' }).click()
    await page.getByText('The manager is added.').waitFor()
    await settle(page)
    expect(await managersOf()).toEqual([
      { type: 'user', id: maker.id },
      { type: 'user', id: other.id },
    ])
    expect(await findBarriers(page)).toEqual([])

    await rows(page).nth(1).getByRole('button', { name: 'Remove' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
    await page.getByText('The manager is removed.').waitFor()
    expect(await managersOf()).toEqual([{ type: 'user', id: maker.id }])
    expect(signed.complaints.splice(0).every((complaint) => complaint.includes('404'))).toBe(true)
  })

  test('a manager adds a user and a service account by id, and leaves', async () => {
    const program = await newAccount('operator')
    const page = await open(maker)
    await add(page, other.id)
    await page.getByText('The manager is added.').first().waitFor()
    await settle(page)
    await add(page, program.id)
    await rows(page).nth(2).getByRole('link', { name: 'operator' }).waitFor()
    expect(await managersOf()).toContainEqual({ type: 'service_account', id: program.id })

    await rows(page).filter({ hasText: 'You' }).getByRole('button', { name: 'Remove' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Remove' }).click()
    await page.getByRole('heading', { name: 'Service accounts' }).waitFor()
    await settle(page)
    const { status } = await call(service, `GET /service-accounts/${account.id}`, { bearer: access })
    expect(status).toBe(404)
    // The ids were tried as those of users first.
    expect(signed.complaints.splice(0).every((complaint) => complaint.includes('404'))).toBe(true)
  })

  test('support sees the managers and changes none; an external id is shown and changed', async () => {
    const support = await addPerson(sql, { email: 'sue@example.com', scopes: ['latchkey:support', 'read'] })
    const page = await open(support)
    await rows(page).first().waitFor()
    expect(await page.getByRole('button', { name: 'Add a manager' }).count()).toBe(0)
    expect(await page.getByRole('button', { name: 'Remove' }).count()).toBe(0)
    await page.getByRole('link', { name: other.email }).click()
    await page.getByRole('heading', { name: other.email }).waitFor()
    await page.getByRole('tab', { name: 'Service accounts' }).click()
    const accounts = page.getByRole('table', { name: 'Service accounts' }).locator('tbody tr')
    await accounts.first().waitFor()
    expect(await accounts.allTextContents()).toEqual([expect.stringContaining('reports')])
    expect((await pages.leave()).complaints).toEqual([])

    const own = await open(other)
    await own.getByRole('button', { name: 'Edit' }).click()
    await own.getByRole('dialog').getByLabel('External id').fill('customer-7')
    await own.getByRole('dialog').getByRole('button', { name: 'Save' }).click()
    await own.getByRole('definition').filter({ hasText: 'customer-7' }).waitFor()
    // The other manager is an account that this one may not see.
    expect(signed.complaints.splice(0).every((complaint) => complaint.includes('404'))).toBe(true)
  })
})
