import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { mkdirSync } from 'node:fs'
import type { Browser, BrowserContext, Frame, Page } from 'playwright-core'
import { PORTAL } from '../../src/lib/scopes.ts'
import { CHROMIUM, sharedChromium, WITHOUT_CHROMIUM } from '../support/chromium.ts'
import { call, newKey } from '../support/client.ts'
import { DESKTOP, findBarriers, PHONE } from '../support/console.ts'
import { addLoggedIn, connectTo } from '../support/people.ts'
import { makePortal } from '../support/portal.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'

setDefaultTimeout(240_000)

/** Markup, a direction, an emoji, and as long as a name may be. */
const HOSTILE = `<img src=x onerror=alert(1)> \u202Egnp.exe 🔑 ${'a'.repeat(60)}`.slice(0, 100)
/** Pictures for the eye, where a directory is named. */
const PICTURES = process.env.PICTURES

/** A site of its own that shows a page in a frame. */
const serveFrame = () => {
  let src = ''
  const site = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: () =>
      new Response(
        `<!doctype html><title>Product</title><iframe src="${src}" width="900" height="700"></iframe>`,
        {
          headers: { 'content-type': 'text/html' },
        },
      ),
  })
  return {
    /** Another name of the same machine: to a browser another site. */
    origin: `http://product.localhost:${site.port}`,
    show: (url: string) => {
      src = url
    },
    stop: () => site.stop(true),
  }
}

describe.skipIf(!CHROMIUM)(`the portal${WITHOUT_CHROMIUM}`, () => {
  const product = serveFrame()
  const stranger = serveFrame()
  let service: TestService
  let sql: ReturnType<typeof connectTo>
  let browser: Browser
  let access: string
  let account: string
  let maker: { id: string; key: string }
  let shown: { id: string; key: string }
  beforeAll(async () => {
    if (PICTURES) mkdirSync(PICTURES, { recursive: true })
    browser = await sharedChromium()
    service = await startService({
      isIssuer: true,
      portalName: HOSTILE.slice(0, 50),
      portalAccent: '#ffd400',
      portalFrameAncestors: [product.origin],
      portalReturnOrigins: [product.origin],
    })
    sql = connectTo(service)
    const person = await addLoggedIn(service, sql, { scopes: ['read', 'write', PORTAL] })
    access = person.access
    const json = { name: HOSTILE, scopes: ['read', 'write'] }
    account = (await call(service, 'POST /service-accounts', { bearer: access, json })).body.id
    maker = await newKey(service, access, { scopes: ['read', 'write', PORTAL] })
    const ofAccount = { service_account_id: account }
    shown = await newKey(service, access, { ...ofAccount, name: 'shown', scopes: ['read'] })
    await newKey(service, access, {
      ...ofAccount,
      name: HOSTILE,
      scopes: ['read', 'write'],
      description: HOSTILE,
    })
    await sql`INSERT INTO latchkey.key_usage (key_id, hour, outcome, count)
      SELECT ${shown.id}, date_trunc('hour', now()) - at * interval '1 hour', 'VALID', 7 FROM generate_series(0, 719) AS at`
  })
  afterAll(async () => {
    await sql?.end()
    await service?.stop()
    product.stop()
    stranger.stop()
  })

  let context: BrowserContext
  let complaints: string[]
  const open = async (look: typeof DESKTOP | typeof PHONE = DESKTOP): Promise<Page> => {
    context = await browser.newContext({ ...look, reducedMotion: 'reduce' })
    context.setDefaultTimeout(60_000)
    complaints = []
    context.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
    })
    context.on('weberror', (error) => complaints.push(error.error().message))
    return context.newPage()
  }
  /** What the test expects the browser to complain of; anything else is a fault, above all a violation of the policy. */
  let expected: RegExp[] = []
  afterEach(async () => {
    await context.close()
    const unexpected = complaints.filter((text) => !expected.some((each) => each.test(text)))
    expected = []
    expect(unexpected).toEqual([])
  })

  const newLink = async (more: object = {}) =>
    makePortal(
      service,
      { apiKey: maker.key },
      { service_account_id: account, scopes: ['read'], may: ['create', 'rotate', 'revoke'], ...more },
    )
  const enter = async (page: Page, more: object = {}) => {
    const link = await newLink(more)
    await page.goto(link.url)
    await page.getByRole('button', { name: 'Continue' }).click()
    await page.getByText('shown', { exact: true }).waitFor()
    return link
  }
  const takePicture = async (page: Page, name: string) => {
    if (PICTURES) await page.screenshot({ path: `${PICTURES}/${name}.png`, fullPage: true })
  }

  test('waits for a click, takes its token out of the address bar, and sets no cookie', async () => {
    const page = await open()
    const { id, url } = await newLink()
    await page.goto(url)
    await page.getByRole('button', { name: 'Continue' }).waitFor()
    expect(page.url()).toBe(`${service.url}/portal`)
    await page.waitForLoadState('networkidle')
    const [unused] = await sql`SELECT bearer_hash FROM latchkey.portal_sessions WHERE id = ${id}`
    expect(unused?.bearer_hash).toBeNull()
    await page.getByRole('button', { name: 'Continue' }).click()
    await page.getByText('shown', { exact: true }).waitFor()
    expect(await context.cookies()).toEqual([])
    expect(await page.evaluate('localStorage.length')).toBe(0)
    // A reload goes on with the bearer of the tab; a click on "Back" finds no token.
    await page.reload()
    await page.getByText('shown', { exact: true }).waitFor()
    expect(page.url()).not.toContain('#')
  })

  test('a used link is dead', async () => {
    const page = await open()
    const { url } = await enter(page)
    const other = await context.newPage()
    await other.goto(url)
    await other.getByRole('button', { name: 'Continue' }).click()
    await other.getByRole('heading', { name: 'This link has been used' }).waitFor()
    expect(await other.getByText('shown', { exact: true }).count()).toBe(0)
    expect(await findBarriers(other)).toEqual([])
    expected = [/401/]
  })

  test('without a link it says where to get one', async () => {
    const page = await open()
    await page.goto(`${service.url}/portal`)
    await page.getByRole('heading', { name: 'Open this page again' }).waitFor()
    expect(await findBarriers(page)).toEqual([])
  })

  test.each([
    ['desktop, light', DESKTOP],
    ['phone, dark', PHONE],
  ] as const)('%s: a key is made, rotated and revoked, and axe-core finds nothing', async (name, look) => {
    const page = await open(look)
    const clean = async (step: string) => {
      await takePicture(page, `${name} ${step}`)
      expect([step, await findBarriers(page)]).toEqual([step, []])
    }
    const { url } = await newLink({ return_url: `${product.origin}/settings` })
    await page.goto(url)
    await page.getByRole('button', { name: 'Continue' }).waitFor()
    await clean('continue')
    await page.getByRole('button', { name: 'Continue' }).click()
    await page.getByText('shown', { exact: true }).waitFor()
    await page.waitForLoadState('networkidle')
    expect(await page.getByText(HOSTILE, { exact: true }).count()).toBeGreaterThan(0)
    expect(await page.locator('img').count()).toBe(0)
    await clean('keys')

    const made = `made on ${name}`
    await page.getByRole('button', { name: 'New key' }).click()
    await page.getByLabel('Name').fill(made)
    await page.getByLabel('Description').fill('of the customer')
    await clean('new key')
    await page.getByRole('button', { name: 'Create' }).click()
    const first = (await page.locator('pre').textContent()) ?? ''
    await clean('secret')
    // The secret stays until it is saved.
    await page.keyboard.press('Escape')
    await page.getByText('Save the key first').waitFor()
    await page.getByLabel('I have saved the key').check()
    await page.getByRole('button', { name: 'Done' }).click()
    expect((await call(service, 'GET /protected/service-only', { apiKey: first })).status).toBe(200)

    const row = page.getByRole('row').filter({ hasText: made })
    await row.getByRole('button', { name: 'Rotate' }).click()
    await page.getByLabel('The old secret works on for').selectOption('No longer')
    await page.getByRole('dialog').getByRole('button', { name: 'Rotate' }).click()
    await page.getByLabel('I have saved the key').check()
    const second = (await page.locator('pre').textContent()) ?? ''
    await page.getByRole('button', { name: 'Done' }).click()
    expect((await call(service, 'GET /auth/me', { apiKey: first })).status).toBe(401)
    expect((await call(service, 'GET /auth/me', { apiKey: second })).status).toBe(200)

    await row.getByRole('button', { name: 'Revoke' }).click()
    const dialog = page.getByRole('dialog')
    // Whether the use a moment ago is counted yet, is a matter of the second.
    await dialog.getByText(/was (not used|used \d+ times) in the last 24 hours/).waitFor()
    expect(await dialog.getByRole('button', { name: 'Revoke' }).isDisabled()).toBe(true)
    await dialog.getByLabel('To go on, type').fill(made)
    await clean('revoke')
    await dialog.getByRole('button', { name: 'Revoke' }).click()
    await page.getByText('The key is revoked.').waitFor()
    await until(async () => (await row.count()) === 0, 'the key is gone from the list')
    expect((await call(service, 'GET /auth/me', { apiKey: second })).status).toBe(401)
    await page.getByLabel('Show keys that have ended').check()
    await row.getByText('Revoked', { exact: true }).waitFor()

    // What holds more than the session was made for has no buttons.
    const beyond = page.getByRole('row').filter({ hasText: 'gnp.exe' })
    expect(await beyond.getByRole('button').count()).toBe(0)
    await page.getByRole('button', { name: 'Show as table' }).click()
    await page.getByRole('button', { name: '30 days' }).click()
    await clean('table')
    const back = page.getByRole('link', { name: 'Back to' })
    expect(await back.getAttribute('href')).toBe(`${product.origin}/settings`)
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('heading', { name: 'You are signed out' }).waitFor()
    await clean('signed out')
    await page.reload()
    await page.getByRole('heading', { name: 'Open this page again' }).waitFor()
  })

  test('by keyboard alone: a key is made', async () => {
    const page = await open()
    const { url } = await newLink()
    await page.goto(url)
    await page.getByRole('button', { name: 'Continue' }).waitFor()
    const focused = () => page.evaluate<string>('document.activeElement?.textContent ?? ""')
    const tabTo = async (text: string) => {
      for (let i = 0; i < 40; i++) {
        if ((await focused()).trim() === text) return
        await page.keyboard.press('Tab')
      }
      throw new Error(`No tab leads to ${text}`)
    }
    await tabTo('Continue')
    await page.keyboard.press('Enter')
    await page.getByText('shown', { exact: true }).waitFor()
    await tabTo('New key')
    await page.keyboard.press('Enter')
    await page.getByLabel('Name').focus()
    await page.keyboard.type('typed')
    await page.keyboard.press('Enter')
    await page.getByLabel('I have saved the key').waitFor()
    await page.keyboard.press('Tab')
    while ((await page.evaluate('document.activeElement?.getAttribute("type")')) !== 'checkbox')
      await page.keyboard.press('Tab')
    await page.keyboard.press('Space')
    await tabTo('Done')
    await page.keyboard.press('Enter')
    await page.getByText('typed', { exact: true }).waitFor()
  })

  test('with `read` alone there is nothing to press', async () => {
    const page = await open()
    await enter(page, { may: ['read'] })
    expect(await page.getByRole('button', { name: 'New key' }).count()).toBe(0)
    expect(await page.getByRole('button', { name: 'Revoke' }).count()).toBe(0)
    expect(await page.getByRole('button', { name: 'Rotate' }).count()).toBe(0)
  })

  test('the end of the key that made the session ends it at once', async () => {
    const key = await newKey(service, access, { scopes: ['read', 'write', PORTAL] })
    const { url } = await makePortal(
      service,
      { apiKey: key.key },
      { service_account_id: account, may: ['create'] },
    )
    const page = await open()
    await page.goto(url)
    await page.getByRole('button', { name: 'Continue' }).click()
    await page.getByText('shown', { exact: true }).waitFor()
    await call(service, `DELETE /keys/${key.id}`, { bearer: access })
    await page.getByRole('button', { name: 'New key' }).click()
    await page.getByRole('button', { name: 'Create' }).click()
    await page.getByRole('heading', { name: 'You are signed out' }).waitFor()
    expect(await page.getByText('shown', { exact: true }).count()).toBe(0)
    expected = [/401/]
  })

  const newCustomer = async () =>
    (await call(service, 'POST /service-accounts', { bearer: access, json: { name: 'next', scopes: [] } }))
      .body.id

  test('of the customer before nothing is shown to the next one in the same tab', async () => {
    const page = await open()
    await enter(page)
    const { url } = await newLink({ service_account_id: await newCustomer() })
    // The keys of the next customer are on their way all the time.
    await page.route('**/keys?**', () => {})
    await page.goto(url)
    await page.getByRole('button', { name: 'Continue' }).click()
    await page.getByText('next', { exact: false }).first().waitFor()
    expect(await page.getByText('shown', { exact: true }).count()).toBe(0)
    await page.unroute('**/keys?**')
    await page.reload()
    await page.getByRole('heading', { name: 'API keys' }).waitFor()
    await page.waitForLoadState('networkidle')
    expect(await page.getByText('shown', { exact: true }).count()).toBe(0)
  })

  test('a link that is dead does not lead back to the customer before', async () => {
    const page = await open()
    await enter(page)
    const { id, url } = await newLink({ service_account_id: await newCustomer() })
    await call(service, `DELETE /portal/sessions/${id}`, { apiKey: maker.key })
    await page.goto(url)
    await page.getByRole('button', { name: 'Continue' }).click()
    await page.getByRole('heading', { name: 'This link has been used' }).waitFor()
    await page.reload()
    await page.getByRole('heading', { name: 'Open this page again' }).waitFor()
    expect(await page.getByText('shown', { exact: true }).count()).toBe(0)
    expected = [/401/]
  })

  describe('in a frame', () => {
    const frameOf = async (page: Page): Promise<Frame> => {
      await page.waitForLoadState('networkidle')
      const frame = page.frames().find((each) => each !== page.mainFrame())
      if (!frame) throw new Error('No frame')
      return frame
    }

    test('of an origin that is named it opens at once', async () => {
      const page = await open()
      product.show((await newLink({ return_url: `${product.origin}/` })).url)
      await page.goto(product.origin)
      const frame = await frameOf(page)
      await frame.getByText('shown', { exact: true }).waitFor()
      expect(await frame.getByRole('button', { name: 'Continue' }).count()).toBe(0)
      expect(frame.url()).toBe(`${service.url}/portal`)
      // The link leads out of the frame.
      await frame.getByRole('link', { name: 'Back to' }).click()
      await page.waitForURL(`${product.origin}/`)
      expected = [/401/]
    })

    test('it works where the browser denies all storage', async () => {
      const page = await open()
      await page.addInitScript(`for (const name of ['sessionStorage', 'localStorage'])
        Object.defineProperty(window, name, { get() { throw new DOMException('denied', 'SecurityError') } })`)
      product.show((await newLink()).url)
      await page.goto(product.origin)
      const frame = await frameOf(page)
      await frame.getByText('shown', { exact: true }).waitFor()
      await frame.getByRole('button', { name: 'New key' }).click()
      await frame.getByRole('button', { name: 'Create' }).click()
      await frame.getByLabel('I have saved the key').waitFor()
    })

    test('of a foreign origin it is refused, and the link stays unused', async () => {
      const page = await open()
      const { id, url } = await newLink()
      stranger.show(url)
      await page.goto(stranger.origin)
      await until(() => complaints.some((text) => text.includes('frame-ancestors')), 'the policy is named')
      const frame = await frameOf(page)
      expect(await frame.getByText('shown', { exact: true }).count()).toBe(0)
      expect(await frame.getByRole('button').count()).toBe(0)
      const [row] = await sql`SELECT bearer_hash FROM latchkey.portal_sessions WHERE id = ${id}`
      expect(row?.bearer_hash).toBeNull()
      expected = [/frame-ancestors/]
    })
  })
})
