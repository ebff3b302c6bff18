import { afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type { Page } from 'playwright-core'
import { CHROMIUM, WITHOUT_CHROMIUM } from '../support/chromium.ts'
import { call, newKey } from '../support/client.ts'
import { findBarriers, type Look, PHONE, type Signed, settle } from '../support/console.ts'
import { type AddedPerson, addPerson, beginSession } from '../support/people.ts'
import { useConsole } from '../support/use-console.ts'
import { useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const service = useService({ isIssuer: true })
const sql = useSql(service)

describe.skipIf(!CHROMIUM)(`limits and credits in the console${WITHOUT_CHROMIUM}`, () => {
  let admin: AddedPerson
  let person: AddedPerson
  let access: string
  let signed: Signed
  const pages = useConsole(() => service)

  beforeAll(async () => {
    admin = await addPerson(sql, { role: 'admin', email: 'ada@example.com' })
    person = await addPerson(sql, { email: 'bob@example.com' })
    access = (await beginSession(service, admin)).access
  })
  afterEach(async () => {
    expect((await pages.leave()).complaints).toEqual([])
  })

  const newAccount = async (limits = {}): Promise<string> => {
    const json = {
      external_id: `customer-${crypto.randomUUID()}`,
      name: 'reports',
      scopes: ['read'],
      ...limits,
    }
    const { status, body } = await call(service, 'PUT /service-accounts', { bearer: access, json })
    expect(status).toBe(201)
    return body.id
  }
  const read = async (path: string) => (await call(service, `GET /${path}`, { bearer: access })).body
  const open = async (place: string, who = admin, look?: Look): Promise<Page> => {
    signed = await pages.open(who, place, look && { look })
    return signed.page
  }
  const dialogOf = async (page: Page, button: string) => {
    await page.getByRole('button', { name: button, exact: true }).click()
    return page.getByRole('dialog')
  }
  const save = async (page: Page, button = 'Save') => {
    await page.getByRole('dialog').getByRole('button', { name: button, exact: true }).click()
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    await settle(page)
  }
  const addCredits = async (page: Page, amount: string) => {
    const dialog = await dialogOf(page, 'Add credits')
    await dialog.getByLabel('How many').fill(amount)
    expect(await findBarriers(page)).toEqual([])
    await save(page, 'Add credits')
  }

  test('an admin gives an account a rate and credits, and adds credits', async () => {
    const id = await newAccount()
    const place = `service-accounts/${id}`
    const page = await open(place)
    await page.getByText('No limits for all keys together.').waitFor()
    expect(await page.getByRole('button', { name: 'Add credits' }).count()).toBe(0)

    const dialog = await dialogOf(page, 'Edit limits')
    await dialog.getByLabel('Rate limit').fill('90')
    await dialog.getByLabel('Credits').fill('500')
    await dialog.getByLabel('Refill').selectOption('Every week')
    await dialog.getByLabel('How', { exact: true }).selectOption('Add the amount')
    await dialog.getByLabel('Amount', { exact: true }).fill('1000')
    await dialog.getByLabel('Up to').fill('900')
    await dialog.getByLabel('Day').selectOption('Sunday')
    await dialog.getByLabel('Hour').selectOption('6:00')
    await dialog.getByLabel('Time zone').fill('Europe/Berlin')
    expect(await findBarriers(page)).toEqual([])
    await dialog.getByRole('button', { name: 'Save' }).click()
    await dialog.getByRole('alert').waitFor()
    await dialog.getByText('Must be at least the amount').first().waitFor()
    await dialog.getByLabel('Up to').fill('4000')
    await save(page)
    expect(signed.complaints.splice(0).every((complaint) => complaint.includes('422'))).toBe(true)
    await page.getByText('90 uses in each minute').waitFor()
    await page.getByText('1,000 more every Sunday at 6:00, Europe/Berlin, up to 4,000.').waitFor()

    await addCredits(page, '250')
    await page.getByText('750', { exact: false }).first().waitFor()
    // The same amount once more is another top-up.
    await addCredits(page, '250')
    await page.getByText('1,000 / 4,000').waitFor()
    expect(await read(place)).toMatchObject({
      rate_limit: { limit: 90, window_seconds: 60 },
      credits: {
        remaining: 1000,
        refill: {
          amount: 1000,
          interval: 'weekly',
          day: 7,
          hour: 6,
          time_zone: 'Europe/Berlin',
          mode: 'add',
          max: 4000,
        },
      },
    })
  })

  test('another change leaves the credits as they have become meanwhile', async () => {
    const place = `users/${person.id}`
    const refill = { amount: 10, interval: 'monthly', day: 31 }
    const limits = { credits: { remaining: 100, refill } }
    await call(service, `PATCH /${place}`, { bearer: access, json: limits })
    const page = await open(place)
    await page.getByText('Refilled to 10 on day 31 of every month at 0:00, UTC.').waitFor()
    const dialog = await dialogOf(page, 'Edit limits')
    await call(service, `POST /${place}/credits`, { bearer: access, json: { set: 40 } })
    await dialog.getByLabel('Amount', { exact: true }).fill('20')
    await save(page)
    expect((await read(place)).credits).toEqual({ remaining: 40, refill: { ...refill, amount: 20 } })
    await addCredits(page, '-15')
    expect((await read(place)).credits.remaining).toBe(25)
  })

  test('an amount whose answer was lost is added once', async () => {
    const place = `service-accounts/${await newAccount({ credits: { remaining: 100 } })}`
    const page = await open(place)
    let lost = 0
    await page.route(`${service.url}/${place}/credits`, async (route) => {
      if (lost > 0) return route.continue()
      lost += 1
      await route.fetch()
      await route.abort()
    })
    const dialog = await dialogOf(page, 'Add credits')
    await dialog.getByLabel('How many').fill('60')
    await dialog.getByRole('button', { name: 'Add credits' }).click()
    await dialog.getByRole('alert').waitFor()
    expect((await read(place)).credits.remaining).toBe(160)
    await save(page, 'Add credits')
    expect((await read(place)).credits.remaining).toBe(160)
    expect(lost).toBe(1)
    expect(signed.complaints.splice(0).every((complaint) => complaint.includes('ERR_FAILED'))).toBe(true)
  })

  test('a key shows its refill and the limits of its owner, which say why it is refused', async () => {
    const owner = await newAccount({
      rate_limit: { limit: 7, window_seconds: 3600 },
      credits: { remaining: 3 },
    })
    const key = await newKey(service, access, {
      service_account_id: owner,
      credits: { remaining: 5, refill: { amount: 1000, interval: 'weekly', time_zone: 'Europe/Berlin' } },
      allowed_ips: ['203.0.113.0/24'],
    })
    const page = await open(`keys/${key.id}`, admin, PHONE)
    await page.getByText('Refilled to 1,000 every Monday at 0:00, Europe/Berlin.').waitFor()
    const limits = page.locator('section', { has: page.getByRole('heading', { name: 'Limits' }) })
    await limits.getByText('Its uses also count against the limits of its owner:').waitFor()
    await limits.getByRole('link', { name: 'reports' }).waitFor()
    await limits.getByText('7 / 7').waitFor()
    await limits.locator('dl', { hasText: 'Owner’s credits3' }).waitFor()
    await addCredits(page, '5')
    await limits.getByText('10 / 1,000').waitFor()

    await page.getByLabel('Address of the client').fill('203.0.113.9')
    await page.getByLabel('Cost in credits').fill('4')
    await page.getByRole('button', { name: 'Why is it refused?' }).click()
    await page.getByText('The limit that all keys of the owner share is used up.').waitFor()
    expect(await findBarriers(page)).toEqual([])

    const dialog = await dialogOf(page, 'Edit')
    await dialog.getByLabel('Credits').fill('2')
    expect(await findBarriers(page)).toEqual([])
    const sent = page.waitForRequest((request) => request.method() === 'PATCH')
    await save(page)
    expect((await sent).postDataJSON()).toEqual({ credits: { remaining: 2 } })
    await page.getByRole('button', { name: 'Why is it refused?' }).click()
    await page.getByText('The limit of the key is used up.').waitFor()
  })

  test('support and managers see the limits and change none', async () => {
    const support = await addPerson(sql, { email: 'sue@example.com', scopes: ['latchkey:support', 'read'] })
    const id = await newAccount({ credits: { remaining: 33 } })
    const add = { bearer: access, json: { user_id: person.id } }
    expect((await call(service, `PUT /service-accounts/${id}/managers`, add)).status).toBe(204)
    for (const [who, place] of [
      [support, `service-accounts/${id}`],
      [support, `users/${person.id}`],
      [person, `service-accounts/${id}`],
    ] as const) {
      const page = await open(place, who)
      await page.getByRole('meter', { name: 'Credits' }).waitFor()
      for (const name of ['Add credits', 'Edit limits'])
        expect(await page.getByRole('button', { name }).count()).toBe(0)
      expect((await pages.leave()).complaints).toEqual([])
    }
    // The positive control: an admin has both.
    const page = await open(`service-accounts/${id}`)
    for (const name of ['Add credits', 'Edit limits']) await page.getByRole('button', { name }).waitFor()
  })
})
