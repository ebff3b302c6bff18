import { readFileSync } from 'node:fs'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import { CHROMIUM } from './chromium.ts'
import { PASSWORD } from './people.ts'

const AXE = readFileSync(Bun.resolveSync('axe-core/axe.min.js', import.meta.dir), 'utf8')

/** How the console is looked at. */
export type Look = { viewport: { width: number; height: number }; colorScheme: 'light' | 'dark' }

/** Where the console is opened: the sizes of a desktop and of a phone. */
export const DESKTOP: Look = { viewport: { width: 1280, height: 860 }, colorScheme: 'light' }
export const PHONE: Look = { viewport: { width: 390, height: 844 }, colorScheme: 'dark' }

/** As root Chromium has no sandbox to give; it sees nothing here but our own pages. */
export const launchChromium = (): Promise<Browser> =>
  chromium.launch({ executablePath: CHROMIUM ?? '', args: ['--no-sandbox'] })

/** A browser in which a person is signed in, and what it complained about. */
export type Signed = { context: BrowserContext; page: Page; complaints: string[]; requested: string[] }

/** Signs a person in by the page for it; the console is open afterwards. */
export async function signInto(
  browser: Browser,
  base: string,
  email: string,
  look: Look = DESKTOP,
  password = PASSWORD,
): Promise<Signed> {
  const context = await browser.newContext({ ...look, reducedMotion: 'reduce' })
  context.setDefaultTimeout(60_000)
  const page = await context.newPage()
  const signed: Signed = { context, page, complaints: [], requested: [] }
  context.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) signed.complaints.push(message.text())
  })
  context.on('weberror', (error) => signed.complaints.push(error.error().message))
  context.on('request', (request) => signed.requested.push(request.url()))
  await page.goto(`${base}/login`)
  await page.fill('#email', email)
  await page.fill('#password', password)
  await page.click('button[type=submit]')
  await page.waitForURL(`${base}/console/keys`)
  return signed
}

/** Opens a place of the console, and waits until all that it asks for is there. */
export async function openPlace(page: Page, base: string, place: string): Promise<void> {
  await page.goto(`${base}/console/${place}`)
  await settle(page)
}

/** Waits until the page has its heading and nothing is being loaded. */
export async function settle(page: Page): Promise<void> {
  await page.locator('h1').waitFor()
  await page.waitForLoadState('networkidle')
  await page.getByText('Loading…').first().waitFor({ state: 'detached' })
}

/** What axe-core finds on a page. It is brought in by the debugger, which no policy binds. */
export async function findBarriers(page: Page): Promise<string[]> {
  const debugging = await page.context().newCDPSession(page)
  await debugging.send('Runtime.evaluate', { expression: AXE })
  const { violations } = await page.evaluate<{
    violations: { id: string; nodes: { html: string; failureSummary: string }[] }[]
  }>('axe.run()')
  return violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`),
  )
}

/** Gives the browser an authenticator in software, whose person is always there. */
export async function addAuthenticator(page: Page): Promise<void> {
  const debugging = await page.context().newCDPSession(page)
  await debugging.send('WebAuthn.enable')
  await debugging.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  })
}

/** What takes the focus, as far as it is drawn. */
const FOCUSABLE = 'a[href], button, input, select, textarea, summary, [tabindex="0"]'

/**
 * Goes through a page by the Tab key alone, once around.
 * @returns what the keyboard does not reach, or reaches without that one sees it
 */
export async function walkByKeyboard(page: Page): Promise<string[]> {
  const count = await page.evaluate<number>(`{
    const drawn = (element) => element.checkVisibility() && !element.disabled && element.tabIndex >= 0
    window.toReach = [...document.querySelectorAll('${FOCUSABLE}')].filter(drawn)
    window.reached = new Set()
    window.unseen = []
    addEventListener('focusin', ({ target }) => {
      reached.add(target)
      if (getComputedStyle(target).outlineStyle === 'none') unseen.push(target)
    })
    toReach.length
  }`)
  // A field for a time has several stops.
  for (let pressed = 0; pressed < count * 2 + 20; pressed += 1) {
    await page.keyboard.press('Tab')
    const isAround = await page.evaluate<boolean>('reached.size >= toReach.length')
    if (isAround) break
  }
  return page.evaluate<string[]>(
    '[...toReach.filter((element) => !reached.has(element)), ...unseen].map((element) => element.outerHTML.slice(0, 120))',
  )
}
