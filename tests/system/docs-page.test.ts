import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { CHROMIUM, sharedChromium, WITHOUT_CHROMIUM } from '../support/chromium.ts'
import { call, newKey, newPerson } from '../support/client.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService } from '../support/use-service.ts'

setDefaultTimeout(240_000)

// PUBLIC_URL differs from the URL of the tests, as behind a proxy.
const service = useService({ publicUrl: 'https://auth.elsewhere.test' })
const owner = prepare(() => newPerson(service))

const FILES = {
  '/docs': 'text/html; charset=utf-8',
  '/docs/start.js': 'text/javascript; charset=utf-8',
  '/docs/swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
  '/docs/swagger-ui.css': 'text/css; charset=utf-8',
  '/docs/page.css': 'text/css; charset=utf-8',
  '/docs/favicon.png': 'image/png',
}
/** Where the code flow comes back. */
const BACK = {
  '/docs/oauth2-redirect': 'text/html; charset=utf-8',
  '/docs/oauth2-redirect.js': 'text/javascript; charset=utf-8',
}

describe('the page and its files', () => {
  test.each(Object.entries({ ...FILES, ...BACK }))(
    '%s is served by Latchkey, with its type and a strict content security policy',
    async (path, type) => {
      const answer = await call(service, `GET ${path}`)
      expect(answer.status).toBe(200)
      expect(answer.text.length).toBeGreaterThan(100)
      expect(answer.headers.get('content-type')).toBe(type)
      expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
      expect(answer.headers.get('cache-control')).toBe('public, max-age=3600')
      const policy = (answer.headers.get('content-security-policy') ?? '')
        .split(';')
        .map((part) => part.trim())
      expect(policy.sort()).toEqual([
        "base-uri 'none'",
        "connect-src 'self'",
        "default-src 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "img-src 'self' data:",
        "script-src 'self'",
        "style-src 'self'",
      ])
    },
  )

  test('the page has no inline script or style, and no URL of another host', async () => {
    const { text } = await call(service, 'GET /docs')
    expect(text.match(/<script\b/g)?.length).toBe(text.match(/<script src="[^"]+"><\/script>/g)?.length)
    for (const inline of [/<style/i, /\sstyle=/i, /\son\w+=/i, /javascript:/i, /https?:/i, /["'(]\/\//])
      expect(text).not.toMatch(inline)
    const named = [...text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, name]) => `/${name}`)
    expect(named.sort()).toEqual([...Object.keys(FILES).slice(1), '/openapi.json'].sort())
    for (const path of named) expect((await call(service, `GET ${path}`)).status).toBe(200)
  })

  test('the page to which the code flow comes back has its script in a file', async () => {
    const { text } = await call(service, 'GET /docs/oauth2-redirect')
    expect(text.match(/<script\b/g)?.length).toBe(1)
    expect(text).toContain('<script src="oauth2-redirect.js"></script>')
    expect(text).not.toMatch(/<style|\son\w+=|https?:/i)
  })

  test('the styles and our own script load nothing from another host', async () => {
    const css = (await call(service, 'GET /docs/swagger-ui.css')).text
    expect(css).not.toMatch(/@import/)
    for (const [, target] of css.matchAll(/url\(["']?([^"')]{1,10})/g)) expect(target).toStartWith('data:')
    expect((await call(service, 'GET /docs/start.js')).text).not.toMatch(/https?:|["'`]\/\//)
  })

  test('a slash at the end redirects to the page without one, where the relative links work', async () => {
    const answer = await fetch(`${service.url}/docs/`, { redirect: 'manual' })
    expect([answer.status, answer.headers.get('location')]).toEqual([308, '../docs'])
  })

  test('no page of the OpenAPI plugin is served', async () => {
    for (const path of ['/swagger', '/swagger/json', '/describer', '/document.json', '/docs/json', '/docs/x'])
      expectProblem(await call(service, `GET ${path}`), 'not_found')
  })

  test('DOCS=false removes the page, and keeps the document', async () => {
    const bare = await startService({ docs: false }, service)
    try {
      for (const path of Object.keys({ ...FILES, ...BACK }))
        expectProblem(await call(bare, `GET ${path}`), 'not_found')
      expect((await call(bare, 'GET /openapi.json')).status).toBe(200)
    } finally {
      await bare.stop()
    }
  })
})

/** The operations that the tests of credentials run. */
const SHORT = ['getMe', 'userOnly', 'serviceOnly', 'createKey']

/** Lets the pages of a browser find these operations alone in the document, which has everything else as it is. */
async function shorten(context: BrowserContext): Promise<void> {
  await context.route('**/openapi.json', async (route) => {
    const response = await route.fetch()
    const { paths, ...rest } = await response.json()
    const kept = Object.entries<Record<string, { operationId: string }>>(paths).filter(([, operations]) =>
      Object.values(operations).some(({ operationId }) => SHORT.includes(operationId)),
    )
    await route.fulfill({ response, json: { ...rest, paths: Object.fromEntries(kept) } })
  })
}

describe.skipIf(!CHROMIUM)(`in a browser${WITHOUT_CHROMIUM}`, () => {
  let browser: Browser
  let context: BrowserContext
  let page: Page
  const complaints: string[] = []
  const requested: string[] = []
  beforeAll(async () => {
    browser = await sharedChromium()
    context = await browser.newContext()
    page = await context.newPage()
    page.setDefaultTimeout(60_000)
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('request', (request) => requested.push(request.url()))
    await load()
  })
  afterAll(() => context?.close())
  afterEach(() => {
    // Complaints are violations of the policy and missing files.
    expect(complaints).toEqual([])
    const outside = requested.filter(
      (url) => !url.startsWith(`${service.url}/`) && !/^(data|about):/.test(url),
    )
    expect(outside).toEqual([])
    expect(requested.length).toBeGreaterThan(4)
  })

  /**
   * Loads the page without a fragment, which would reopen an operation. The page takes seconds for all operations;
   * `isShort` leaves those that these tests run, for a test that is about what the page keeps.
   */
  async function load({ isShort = false } = {}): Promise<void> {
    await context.unrouteAll()
    if (isShort) await shorten(context)
    await page.goto('about:blank')
    await page.goto(`${service.url}/docs`)
    await page.waitForSelector('.opblock')
  }

  const operation = (id: string) => `[id^="operations-"][id$="-${id}"]`

  /** Runs an operation in the page, and gives the status, the body and the credentials that were sent. */
  async function execute(id: string) {
    const block = page.locator(operation(id))
    if ((await block.locator('.btn.execute').count()) === 0) {
      await block.locator('.opblock-summary-control').click()
      await block.locator('.try-out__btn').click()
    }
    const [response] = await Promise.all([
      page.waitForResponse((answer) => answer.request().resourceType() === 'fetch'),
      block.locator('.btn.execute').click(),
    ])
    const status = block.locator('.live-responses-table tbody .response-col_status').first()
    await status.getByText(String(response.status())).waitFor()
    const { authorization, 'x-api-key': apiKey } = response.request().headers()
    const displayed = await block.locator('.live-responses-table .highlight-code').first().textContent()
    return { status: response.status(), displayed, authorization, apiKey }
  }

  /** Opens the dialogue, fills in one scheme, and closes it. */
  async function authorise(scheme: string, fill: (form: ReturnType<Page['locator']>) => Promise<void>) {
    await page.locator('.btn.authorize').click()
    const form = page.locator('.auth-container', { hasText: scheme })
    const before = form.locator('.btn', { hasText: 'Logout' })
    if ((await before.count()) > 0) await before.click()
    await fill(form)
    await form.locator('.btn.authorize').click()
    await form.locator('.btn', { hasText: 'Logout' }).waitFor()
    await page.locator('.btn-done').first().click()
  }

  test('the page loads under its policy and lists every operation', async () => {
    const { paths } = (await call(service, 'GET /openapi.json')).body
    const operations = Object.values<Record<string, { operationId: string }>>(paths).flatMap(Object.values)
    expect(operations.length).toBeGreaterThan(20)
    expect(await page.locator('.opblock').count()).toBe(operations.length)
    for (const { operationId } of operations)
      expect(`${operationId} ${await page.locator(operation(operationId)).count()}`).toBe(`${operationId} 1`)
    expect(await page.title()).toBe('Latchkey API')
  })

  test('its colours follow the colour scheme of the system, also when that changes', async () => {
    // The function is text, because the types of this file have no browser.
    const look = async () => {
      const script = `(({ colorScheme, backgroundColor }) => [colorScheme, backgroundColor])(getComputedStyle(document.documentElement))`
      const [scheme = '', color = ''] = await page.evaluate<string[]>(script)
      const light = color.startsWith('rgb(')
        ? (color.match(/\d+/g) ?? []).reduce((sum, part) => sum + Number(part), 0)
        : 765
      return { isDark: scheme === 'dark' && light < 200 }
    }
    for (const colorScheme of ['dark', 'light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      await until(async () => (await look()).isDark === (colorScheme === 'dark'), `it is ${colorScheme}`)
      await load({ isShort: true })
      expect(await look()).toEqual({ isDark: colorScheme === 'dark' })
    }
    await page.emulateMedia({ colorScheme: 'light' })
  })

  test('on a phone no element is wider than the screen, and no text is one letter wide', async () => {
    const desktop = page.viewportSize()
    await page.setViewportSize({ width: 390, height: 844 })
    try {
      await load()
      const block = page.locator(operation('createKey')).first()
      await block.locator('.opblock-summary-control').click()
      await block.locator('.try-out__btn').click()
      const width = await page.evaluate('document.documentElement.scrollWidth')
      expect(width).toBeLessThanOrEqual(390)
      const widths = await page
        .locator('.opblock-tag small')
        .evaluateAll((all) => all.map((each) => each.clientWidth))
      expect(widths.length).toBeGreaterThan(4)
      expect(Math.min(...widths)).toBeGreaterThan(200)
    } finally {
      if (desktop) await page.setViewportSize(desktop)
      await load({ isShort: true })
    }
  })

  test('the dialogue begins with e-mail and password', async () => {
    await page.locator('.btn.authorize').click()
    const top = async (selector: string) =>
      (await page.locator(selector).first().boundingBox())?.y ?? Number.NaN
    const [password, bearer] = [await top('#oauth_password'), await top('.auth-container form input')]
    expect(password).toBeLessThan(bearer)
    expect(await page.evaluate('document.activeElement.id')).toBe('oauth_username')
    await page.locator('.btn-done').first().click()
  })

  test('the example of a new key makes a key', async () => {
    await authorise('bearer', (form) => form.locator('input').fill(owner.access))
    const { status, displayed } = await execute('createKey')
    expect([status, displayed?.includes('"name": "Nightly report"')]).toEqual([201, true])
    await page.locator('.btn.authorize').click()
    await page.locator('.auth-container .btn', { hasText: 'Logout' }).click()
    await page.locator('.btn-done').first().click()
    await load({ isShort: true })
  })

  test('an access token authorises calls to the service of the page, also after a reload', async () => {
    await authorise('bearer', (form) => form.locator('input').fill(owner.access))
    const { status, displayed, authorization, apiKey } = await execute('getMe')
    expect([status, authorization, apiKey]).toEqual([200, `Bearer ${owner.access}`, undefined])
    expect(displayed).toContain(owner.email)
    await load({ isShort: true })
    expect((await execute('userOnly')).status).toBe(200)
    // Kept for this tab alone.
    expect(await page.evaluate('sessionStorage.authorized')).toContain(owner.access)
    expect(await page.evaluate('localStorage.length')).toBe(0)
    const another = await page.context().newPage()
    await another.goto(`${service.url}/docs`)
    await another.waitForSelector('.opblock')
    expect(await another.evaluate('sessionStorage.authorized')).toBeUndefined()
    await another.close()
  })

  test('an API key authorises calls in the same field', async () => {
    const { key } = await newKey(service, owner.access, { scopes: 'read' })
    await authorise('bearer', (form) => form.locator('input').fill(key))
    const { status, displayed, authorization } = await execute('serviceOnly')
    expect([status, authorization]).toEqual([200, `Bearer ${key}`])
    expect(displayed).toContain('"auth_type": "api_key"')
  })

  test('e-mail and password authorise calls by OAuth2, also after a reload, and a call has one credential only', async () => {
    await page.locator('.btn.authorize').click()
    const form = page.locator('.auth-container', { hasText: 'oauth2' })
    await form.locator('#oauth_username').fill(owner.email)
    await form.locator('#oauth_password').fill('wrong')
    await form.locator('.btn.authorize').click()
    await form.locator('.errors').getByText('Incorrect email or password').waitFor()
    expect(requested).toContain(`${service.url}/oauth/token`)
    // The only expected complaint: the browser reports every 400.
    expect(complaints.splice(0)).toEqual([expect.stringContaining('400')])
    await page.locator('.btn-done').first().click()

    await authorise('oauth2', async (again) => {
      await again.locator('#oauth_username').fill(owner.email)
      await again.locator('#oauth_password').fill(owner.password)
    })
    const { status, displayed, authorization, apiKey } = await execute('getMe')
    expect([status, apiKey]).toEqual([200, undefined])
    expect(authorization).toMatch(/^Bearer eyJ[\w.-]+$/)
    expect(displayed).toContain(owner.email)

    await load({ isShort: true })
    await authorise('bearer', (both) => both.locator('input').fill(owner.access))
    const beside = await execute('userOnly')
    expect([beside.status, beside.apiKey]).toEqual([200, undefined])
    expect(beside.authorization).toMatch(/^Bearer eyJ[\w.-]+$/)
    await page.locator('.btn.authorize').click()
    expect(await page.locator('.auth-container .btn', { hasText: 'Logout' }).count()).toBe(2)
  })
})

describe.skipIf(!CHROMIUM)(`in a browser at PUBLIC_URL${WITHOUT_CHROMIUM}`, () => {
  const site = useService({ isIssuer: true })
  const person = prepare(() => newPerson(site))
  let browser: Browser
  beforeAll(async () => {
    browser = await sharedChromium()
  })

  test('the page signs a person in by the code flow, and its token is theirs', async () => {
    const context = await browser.newContext()
    context.setDefaultTimeout(60_000)
    const complaints: string[] = []
    context.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
    })
    context.on('weberror', (error) => complaints.push(error.error().message))
    await shorten(context)
    const page = await context.newPage()
    await page.goto(`${site.url}/docs`)
    await page.waitForSelector('.opblock')

    await page.locator('.btn.authorize').click()
    const form = page.locator('.auth-container', { hasText: 'authorizationCode' })
    expect(await form.locator('input[id^="client_id"]').inputValue()).toBe('latchkey-docs')
    const opening = context.waitForEvent('page')
    await form.locator('.btn.authorize').click()
    const popup = await opening
    await popup.waitForURL(/\/login\?/)
    await popup.fill('input[name=email]', person.email)
    await popup.fill('input[name=password]', person.password)
    const closing = popup.waitForEvent('close')
    const trading = page.waitForResponse(`${site.url}/oauth/token`)
    await popup.click('button[type=submit]')
    await closing
    const answer = await trading
    expect(answer.status()).toBe(200)
    const { access_token: token } = (await answer.json()) as { access_token: string }
    await form.locator('.btn', { hasText: 'Logout' }).waitFor()
    await page.locator('.btn-done').first().click()

    const block = page.locator('[id^="operations-"][id$="-getMe"]')
    await block.locator('.opblock-summary-control').click()
    await block.locator('.try-out__btn').click()
    const [response] = await Promise.all([
      page.waitForResponse((each) => each.request().resourceType() === 'fetch'),
      block.locator('.btn.execute').click(),
    ])
    expect(response.request().headers().authorization).toBe(`Bearer ${token}`)
    expect(await response.json()).toMatchObject({ id: person.id, auth_type: 'jwt' })
    expect(await page.evaluate('sessionStorage.authorized')).toContain(token)
    expect(await page.evaluate('localStorage.length')).toBe(0)
    expect(complaints).toEqual([])
    await context.close()
  })
})
