import { afterAll } from 'bun:test'
import type { BrowserContext } from 'playwright-core'
import { sharedChromium } from './chromium.ts'
import { prepare } from './use-service.ts'

/** Chromium for the tests of the surrounding `describe`, with cookies that all of them share. */
export function useChromium(): { context: BrowserContext } {
  const opened = prepare(async () => {
    const context = await (await sharedChromium()).newContext()
    context.setDefaultTimeout(60_000)
    return { context }
  })
  afterAll(() => opened.context?.close())
  return opened
}

/** A program on the person's own machine that waits for the browser to come back. */
export type Loopback = AsyncDisposable & {
  url: string
  /** Where the browser came back to, the next time. */
  next(): Promise<URL>
}

/** Listens on a free port of this machine, as a command-line tool does (RFC 8252, section 7.3). */
export function listenOnLoopback(): Loopback {
  const arrived: URL[] = []
  const waiting: ((url: URL) => void)[] = []
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch({ url }) {
      const at = new URL(url)
      if (at.pathname === '/favicon.ico') return new Response(null, { status: 204 })
      const wanted = waiting.shift()
      if (wanted) wanted(at)
      else arrived.push(at)
      return new Response('You may close this window.')
    },
  })
  return {
    url: `http://127.0.0.1:${server.port}`,
    next: () =>
      new Promise((resolve) => {
        const here = arrived.shift()
        if (here) resolve(here)
        else waiting.push(resolve)
      }),
    [Symbol.asyncDispose]: () => server.stop(true),
  }
}

/**
 * Goes through the pages as a person does: signs in where a page asks for it, and allows what the app asks.
 * @returns what the page of consent said
 */
export async function allowAtPages(
  context: BrowserContext,
  to: URL,
  { email, password }: { email: string; password: string },
): Promise<string> {
  const page = await context.newPage()
  try {
    await page.goto(to.href)
    const login = page.locator('input[name=password]')
    const allow = page.locator('button[value=allow]')
    await login.or(allow).first().waitFor()
    if ((await login.count()) > 0) {
      await page.fill('input[name=email]', email)
      await login.fill(password)
      await page.click('button[type=submit]')
      await allow.waitFor()
    }
    const said = (await page.locator('main').textContent()) ?? ''
    await allow.click()
    await page.getByText('You may close this window.').waitFor()
    return said
  } finally {
    await page.close()
  }
}
