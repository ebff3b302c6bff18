import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import axe from 'axe-core'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { addApi, addApp } from '../support/apps.ts'
import { CHROMIUM, sharedChromium, WITHOUT_CHROMIUM } from '../support/chromium.ts'
import { call, newPerson } from '../support/client.ts'
import { addAuthenticator } from '../support/console.ts'
import { startFront } from '../support/front.ts'
import { startMailServer } from '../support/mail-server.ts'
import { codeOf, newEnrolled } from '../support/second-factors.ts'
import { startService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

/** A folder that pictures of the pages are saved to, for a person to look at. */
const PICTURES = process.env.PICTURES

const mails = await startMailServer()
afterAll(() => mails.stop())

// Without the console a sign-in leads to the start page. The console has a test of its own.
const service = useService({ isIssuer: true, console: 'off', ...mails.settings })
const person = prepare(() => newPerson(service))
const sql = useSql(service)
const api = prepare(() => addApi(sql))
const device = prepare(() =>
  addApp(sql, {
    grants: ['urn:ietf:params:oauth:grant-type:device_code'],
    name: 'Notes on the command line',
    redirectUris: [],
  }),
)

/** Each page that anybody can open, and how it is brought to show a refusal. */
const SHOWN: Record<string, string> = {
  start: '/',
  login: '/login',
  signup: '/signup',
  'logged-out': '/logged-out',
  'not-found': '/nothing',
  'forgot-password': '/forgot-password',
  'reset-password': '/reset-password?token=et_x',
  'verify-email': '/verify-email?token=et_x',
  setup: '/setup?token=et_x',
}
const LOOKS = [390, 1280].flatMap((width) =>
  (['light', 'dark'] as const).map((colorScheme) => ({ width, colorScheme })),
)

describe.skipIf(!CHROMIUM)(`the pages in a browser${WITHOUT_CHROMIUM}`, () => {
  let browser: Browser
  const contexts: BrowserContext[] = []
  const complaints: string[] = []
  const requested: string[] = []
  beforeAll(async () => {
    browser = await sharedChromium()
  })
  afterEach(async () => {
    for (const context of contexts.splice(0)) await context.close()
    // A violation of the policy is a complaint, and so is an error of the script.
    expect(complaints.splice(0)).toEqual([])
    const outside = requested
      .splice(0)
      .filter((url) => !/^(http:\/\/(127\.0\.0\.1|localhost):|data:)/.test(url))
    expect(outside).toEqual([])
  })

  type Look = { width?: number; javaScriptEnabled?: boolean }

  /** A browser without cookies, as one that is started anew. */
  async function open({ width = 1280, ...look }: Look = {}): Promise<Page> {
    const context = await browser.newContext({ viewport: { width, height: 844 }, ...look })
    contexts.push(context)
    const page = await context.newPage()
    page.setDefaultTimeout(60_000)
    page.on('console', (message) => {
      // Chromium reports each answer of 400 and above.
      if (
        ['error', 'warning'].includes(message.type()) &&
        !message.text().includes('the server responded with')
      )
        complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(error.message))
    page.on('request', (request) => requested.push(request.url()))
    return page
  }

  /** What axe finds wrong with the page that is open. */
  async function faultsOf(page: Page): Promise<string[]> {
    if (!(await page.evaluate('"axe" in window'))) await page.evaluate(axe.source)
    const found = await page.evaluate(() =>
      (globalThis as unknown as { axe: typeof axe }).axe.run({ resultTypes: ['violations'] }),
    )
    return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`)
  }

  /** Looks at a page as it is in every size and colour scheme: its style sheet alone makes the difference. */
  async function inspectLooks(page: Page, name: string): Promise<void> {
    for (const { width, colorScheme } of LOOKS) {
      await page.setViewportSize({ width, height: 844 })
      await page.emulateMedia({ colorScheme })
      await inspect(page, `${name}-${width}-${colorScheme}`)
    }
  }

  async function inspect(page: Page, name: string): Promise<void> {
    if (PICTURES) await page.screenshot({ path: `${PICTURES}/${name}.png`, fullPage: true })
    expect([name, await faultsOf(page)]).toEqual([name, []])
    const overflow = await page.evaluate(
      'document.documentElement.scrollWidth - document.documentElement.clientWidth',
    )
    expect([name, overflow]).toEqual([name, 0])
  }

  test('axe finds faults where there are some', async () => {
    const page = await open()
    await page.setContent('<html><body><input><img src="data:,"></body></html>')
    expect((await faultsOf(page)).length).toBeGreaterThan(2)
  })

  test('are clean and fit at 390 and 1280 px, light and dark', async () => {
    const page = await open()
    for (const [name, path] of Object.entries(SHOWN)) {
      await page.goto(service.url + path)
      await inspectLooks(page, name)
    }
    await page.goto(`${service.url}/login`)
    await page.fill('#email', 'somebody.with.quite.a.long.name@a-long-domain.example.com')
    await page.fill('#password', 'wrong')
    await page.click('button[type=submit]')
    await page.waitForSelector('[role=alert]')
    await inspectLooks(page, 'login-refused')
    await page.fill('#email', person.email)
    await page.fill('#password', person.password)
    await page.click('button[type=submit]')
    await page.waitForSelector('text=You are signed in as')
    await inspectLooks(page, 'start-signed-in')
  })

  test('connect a device at 390 and 1280 px, light and dark', async () => {
    const page = await open()
    const begun = await call(service, 'POST /oauth/device_authorization', {
      form: { client_id: device.clientId, resource: api.identifier, scope: 'notes.read notes.write' },
    })
    const { user_code, device_code } = begun.body
    await page.goto(`${service.url}/device?user_code=${user_code}`)
    await page.fill('#email', person.email)
    await page.fill('#password', person.password)
    await page.click('button[type=submit]')
    await page.waitForSelector('#user_code')
    expect(await page.inputValue('#user_code')).toBe(user_code)
    await inspectLooks(page, 'device')
    await page.fill('#user_code', 'BBBB-BBBB')
    await page.click('button[type=submit]')
    await page.waitForSelector('[role=alert]')
    await inspectLooks(page, 'device-refused')
    await page.fill('#user_code', user_code.toLowerCase())
    await page.click('button[type=submit]')
    await page.waitForSelector('text=You started this on another device')
    await inspectLooks(page, 'device-choice')
    // Equally easy: one next to the other, and of one size.
    for (const { width } of LOOKS) {
      await page.setViewportSize({ width, height: 844 })
      const [no, yes] = await Promise.all(
        ['cancel', 'allow'].map((value) => page.locator(`button[value=${value}]`).boundingBox()),
      )
      expect([no?.width, no?.height, no?.y]).toEqual([yes?.width, yes?.height, yes?.y])
    }
    await page.uncheck('[name="scope.notes.write"]')
    await page.click('button[value=allow]')
    await page.waitForSelector('text=The device is connected')
    await inspectLooks(page, 'device-done')
    const form = {
      grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
      client_id: device.clientId,
      device_code,
    }
    expect((await call(service, 'POST /oauth/token', { form })).body.scope).toBe('notes.read')
  })

  test('lead through sign-up, sign-in and sign-out by the keyboard alone', async () => {
    const page = await open()
    const { keyboard } = page
    const tabTo = async (text: string) => {
      for (let presses = 0; presses < 15; presses++) {
        const focused = await page.evaluate(
          'document.activeElement?.textContent || document.activeElement?.name',
        )
        if (focused === text) return
        await keyboard.press('Tab')
      }
      throw new Error(`No way to ${text} by Tab`)
    }
    await page.goto(`${service.url}/`)
    await tabTo('Sign in')
    await keyboard.press('Enter')
    await page.waitForURL('**/login')
    await tabTo('Create an account')
    await keyboard.press('Enter')
    await page.waitForURL('**/signup')
    // The first field has the focus at once.
    await page.waitForSelector('#email:focus')
    await keyboard.type('keyboard@example.com')
    await tabTo('password')
    await keyboard.type('a-long-and-good-one')
    await keyboard.press('Enter')
    await page.waitForURL('**/login?notice=signed_up')
    await page.waitForSelector('#email:focus')
    await keyboard.type('keyboard@example.com')
    await tabTo('password')
    await keyboard.type('a-long-and-good-one')
    await tabTo('Sign in')
    await keyboard.press('Enter')
    await page.waitForSelector('text=You are signed in as keyboard@example.com')
    await tabTo('Sign out')
    await keyboard.press('Enter')
    await page.waitForURL('**/logged-out')
    await page.goto(`${service.url}/`)
    expect(await page.textContent('main')).not.toContain('You are signed in')
  })

  test('work without JavaScript, and offer nothing then that does not', async () => {
    const page = await open({ javaScriptEnabled: false, width: 390 })
    await page.goto(`${service.url}/signup`)
    expect(await page.isVisible('button.show')).toBe(false)
    await page.fill('#email', 'no-script@example.com')
    await page.fill('#password', 'a-long-and-good-one')
    await page.click('button[type=submit]')
    await page.waitForURL('**/login?notice=signed_up')
    await page.fill('#email', 'no-script@example.com')
    await page.fill('#password', 'a-long-and-good-one')
    await page.check('[name=remember]')
    await page.click('button[type=submit]')
    await page.waitForSelector('text=You are signed in as no-script@example.com')
    const [cookie] = await page.context().cookies()
    expect(cookie).toMatchObject({ name: 'latchkey', httpOnly: true, sameSite: 'Lax', path: '/' })
    expect(cookie?.expires).toBeGreaterThan(Date.now() / 1000)
    await page.click('button[type=submit]')
    await page.waitForURL('**/logged-out')
    expect(await page.context().cookies()).toEqual([])
  })

  test('take a code of an authenticator app, without JavaScript', async () => {
    const enrolled = await newEnrolled(service)
    const page = await open({ javaScriptEnabled: false, width: 390 })
    await page.goto(`${service.url}/login`)
    await page.fill('#email', enrolled.email)
    await page.fill('#password', enrolled.password)
    await page.click('button[type=submit]')
    await page.fill('#code', codeOf(service, enrolled.secret))
    await page.click('text=Go on')
    await page.waitForSelector(`text=You are signed in as ${enrolled.email}`)
  })

  test('of second factors are clean and fit at 390 and 1280 px, light and dark', async () => {
    const strict = await startService({ isIssuer: true, console: 'off', requireMfa: 'all' })
    try {
      const someone = await newPerson(strict)
      const page = await open()
      await page.goto(`${strict.url}/login`)
      await page.fill('#email', someone.email)
      await page.fill('#password', someone.password)
      await page.click('button[type=submit]')
      await page.waitForURL('**/login/enrol')
      await inspectLooks(page, 'enrol')
      await page.click('text=Set up an authenticator app')
      await page.waitForSelector('svg')
      await inspectLooks(page, 'enrol-qr')
      const secret = ((await page.textContent('main code')) ?? '').replaceAll(' ', '')
      await page.fill('#code', codeOf(strict, secret))
      await page.click('text=Confirm')
      await page.waitForSelector('.codes li')
      await inspectLooks(page, 'recovery-codes')
      await page.click('text=I have kept them')
      await page.click('text=Sign out')
      await page.goto(`${strict.url}/login`)
      await page.fill('#email', someone.email)
      await page.fill('#password', someone.password)
      await page.click('button[type=submit]')
      await page.waitForSelector('#code')
      await page.click('summary')
      await inspectLooks(page, 'second-step')
      await page.fill('#code', '1')
      await page.click('text=Go on')
      await page.waitForSelector('[role=alert]')
      await inspectLooks(page, 'second-step-refused')
    } finally {
      await strict.stop()
    }
  })

  test('set up a passkey, and sign in by it alone and as a second step', async () => {
    // Browsers have passkeys over plain http at this name alone.
    const { url, behind, stop } = await startFront('localhost', '', { console: 'off', requireMfa: 'all' })
    try {
      const someone = await newPerson(behind)
      const page = await open()
      await addAuthenticator(page)
      const signIn = async () => {
        await page.fill('#email', someone.email)
        await page.fill('#password', someone.password)
        await page.click('button[type=submit]')
      }
      await page.goto(`${url}/login`)
      await inspect(page, 'login-with-passkey')
      await signIn()
      await page.waitForURL('**/login/enrol')
      await page.click('text=Set up a passkey')
      await page.waitForSelector('.codes li')
      expect(await page.locator('.codes li').count()).toBe(10)
      await inspect(page, 'recovery-codes-passkey')
      await page.click('text=I have kept them')
      await page.click('text=Sign out')
      await page.click('text=Sign in again')
      await page.click('text=Sign in with a passkey')
      await page.waitForSelector(`text=You are signed in as ${someone.email}`)
      await page.click('text=Sign out')
      await page.click('text=Sign in again')
      await signIn()
      await inspect(page, 'second-step-passkey')
      await page.click('text=Use your passkey')
      await page.waitForSelector(`text=You are signed in as ${someone.email}`)
    } finally {
      await stop()
    }
  })

  test('say where a passkey does not work', async () => {
    const { url, stop } = await startFront('localhost', '', { console: 'off' })
    try {
      const page = await open()
      // It has no passkey.
      await addAuthenticator(page)
      await page.goto(`${url}/login`)
      await page.click('text=Sign in with a passkey')
      await page.waitForSelector('text=That did not work. Try again.')
    } finally {
      await stop()
    }
  })

  test('a button shows the password, and says so to a screen reader', async () => {
    const page = await open()
    await page.goto(`${service.url}/login`)
    await page.fill('#password', 'my password')
    const button = page.getByRole('button', { name: 'Show the password' })
    await button.click()
    expect(await page.getAttribute('#password', 'type')).toBe('text')
    await page.getByRole('button', { name: 'Hide the password' }).click()
    expect(await page.getAttribute('#password', 'type')).toBe('password')
  })

  test('are shown in no frame, and take no form of another origin', async () => {
    const html = `<iframe src="${service.url}/login"></iframe>
      <form method="post" action="${service.url}/login"><input name="email" value="${person.email}">
      <input name="password" value="${person.password}"><button>Go</button></form>`
    const elsewhere = Bun.serve({
      hostname: '127.0.0.1',
      port: 0,
      fetch: () => new Response(html, { headers: { 'content-type': 'text/html' } }),
    })
    try {
      const page = await open()
      await page.goto(elsewhere.url.href)
      const frame = page.frames().find((each) => each !== page.mainFrame())
      expect(await frame?.locator('form').count()).toBe(0)
      await page.click('button')
      await page.waitForSelector('h1')
      expect(await page.textContent('h1')).toBe('Another site asks')
      expect(await page.context().cookies()).toEqual([])
      // Chromium says that it refused the frame.
      expect(complaints.splice(0).join()).toContain('frame-ancestors')
    } finally {
      await elsewhere.stop(true)
    }
  })

  test('lead to each other behind a proxy below a path', async () => {
    const { url, behind, stop } = await startFront('127.0.0.1', '/auth', { console: 'off' })
    try {
      const someone = await newPerson(behind)
      const page = await open()
      await page.goto(`${url}/`)
      await page.click('text=Sign in')
      await page.fill('#email', someone.email)
      await page.fill('#password', someone.password)
      await page.click('button[type=submit]')
      await page.waitForSelector(`text=You are signed in as ${someone.email}`)
      expect(new URL(page.url()).pathname).toBe('/auth/')
      await inspect(page, 'below-a-path')
      await page.click('text=Sign out')
      await page.waitForURL('**/auth/logged-out')
    } finally {
      await stop()
    }
  })
})
