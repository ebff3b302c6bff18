import { readFileSync } from 'node:fs'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { PASSWORD } from './people.ts'
import { until } from './until.ts'

const AXE = readFileSync(Bun.resolveSync('axe-core/axe.min.js', import.meta.dir), 'utf8')

/** How the console is looked at. */
export type Look = { viewport: { width: number; height: number }; colorScheme: 'light' | 'dark' }

/** Where the console is opened: the sizes of a desktop and of a phone. */
export const DESKTOP: Look = { viewport: { width: 1280, height: 860 }, colorScheme: 'light' }
export const PHONE: Look = { viewport: { width: 390, height: 844 }, colorScheme: 'dark' }

/** A browser in which a person is signed in, and what it complained about. */
export type Signed = { context: BrowserContext; page: Page; complaints: string[]; requested: string[] }

/** A browser without cookies, and what it complains about. */
export async function openBrowser(browser: Browser, look: Look): Promise<Signed> {
  const context = await browser.newContext({ ...look, reducedMotion: 'reduce' })
  context.setDefaultTimeout(60_000)
  await context.addInitScript(COUNT_REQUESTS)
  const page = await context.newPage()
  const signed: Signed = { context, page, complaints: [], requested: [] }
  context.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) signed.complaints.push(message.text())
  })
  context.on('weberror', (error) => signed.complaints.push(error.error().message))
  context.on('request', (request) => signed.requested.push(request.url()))
  return signed
}

/** Signs a person in by the page for it; the console is open afterwards. */
export async function signInByPage(
  browser: Browser,
  base: string,
  email: string,
  look: Look = DESKTOP,
  password = PASSWORD,
): Promise<Signed> {
  const signed = await openBrowser(browser, look)
  const { page } = signed
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

/** Counts the requests of a page that have no whole answer yet. */
const COUNT_REQUESTS = `{
  window.unanswered = 0
  const ask = window.fetch
  window.fetch = async (...words) => {
    window.unanswered += 1
    try {
      const answer = await ask(...words)
      await answer.clone().arrayBuffer()
      return answer
    } finally {
      window.unanswered -= 1
    }
  }
}`

/**
 * Resolves when the page has its heading, waits for no answer, and has had nothing to do in several frames one after
 * the other: an answer that leads to another request does so in that time.
 */
const CALM = `new Promise((resolve) => {
  let frames = 0
  const look = () => {
    const isBusy = window.unanswered > 0 || !document.querySelector('h1') || document.body.textContent.includes('Loading…')
    frames = isBusy ? 0 : frames + 1
    if (frames > 4) resolve(true)
    else requestAnimationFrame(() => requestIdleCallback(look))
  }
  look()
})`

/** Waits until the page has its heading and nothing is being loaded. */
export async function settle(page: Page): Promise<void> {
  await page.locator('h1').waitFor()
  await page.waitForLoadState('load')
  // A page that goes elsewhere meanwhile is looked at there.
  await until(() => page.evaluate<boolean>(CALM).catch(() => false), 'the page has loaded everything', 60_000)
}

/** What axe-core finds on a page. It is brought in by the debugger, which no policy binds. */
export async function findBarriers(page: Page): Promise<string[]> {
  const debugging = await page.context().newCDPSession(page)
  await debugging.send('Runtime.evaluate', { expression: AXE })
  const { violations } = await page.evaluate<{
    violations: { id: string; nodes: { html: string; failureSummary: string }[] }[]
  }>("axe.run({ resultTypes: ['violations'] })")
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
  for (let pressed = 1; pressed <= count * 2 + 20; pressed += 1) {
    await page.keyboard.press('Tab')
    // Each key reaches one element at most, so that there is nothing to ask before.
    if (pressed < count) continue
    const isAround = await page.evaluate<boolean>('reached.size >= toReach.length')
    if (isAround) break
  }
  return page.evaluate<string[]>(
    '[...toReach.filter((element) => !reached.has(element)), ...unseen].map((element) => element.outerHTML.slice(0, 120))',
  )
}
