import { afterAll } from 'bun:test'
import { signIn } from './browser.ts'
import { sharedChromium } from './chromium.ts'
import { DESKTOP, type Look, openBrowser, openPlace, type Signed } from './console.ts'
import { PASSWORD } from './people.ts'

/** How a place is opened. `isFresh`: in a browser of its own, for a test that changes what a page cannot put back. */
export type Opening = { look?: Look; isFresh?: boolean; base?: string }

/**
 * A browser for the tests of the surrounding `describe`. One page serves them all, because the first page of a
 * browser context takes as long as five that follow. Each `open` begins without what the test before has left:
 * cookies, storage, further tabs, routes and permissions.
 */
export function useConsole(service: () => { url: string }) {
  let kept: Signed | null = null
  const opened: Signed[] = []
  afterAll(async () => {
    for (const { context } of opened) await context.close()
  })
  return {
    /** Opens a place of the console for a person. The log-in's cookie is brought in, which saves its page. */
    async open(
      { email }: { email: string },
      place = 'keys',
      { look = DESKTOP, isFresh = false, base = service().url }: Opening = {},
    ): Promise<Signed> {
      const signed = !isFresh && kept ? kept : await openBrowser(await sharedChromium(), look)
      if (!opened.includes(signed)) opened.push(signed)
      if (!isFresh) kept = signed
      await leave(signed)
      const { context, page } = signed
      await context.clearCookies()
      await context.clearPermissions()
      await page.setViewportSize(look.viewport)
      await page.emulateMedia({ colorScheme: look.colorScheme })
      const { cookie } = await signIn({ url: base }, { email, password: PASSWORD })
      const [name = '', value = ''] = cookie.split('=')
      await context.addCookies([{ name, value, url: base, httpOnly: true, sameSite: 'Lax' }])
      await openPlace(page, base, place)
      return signed
    },
    /** Leaves what the test has opened. @returns what the browser complained about, and every URL that it asked for */
    async leave(): Promise<{ complaints: string[]; requested: string[] }> {
      for (const signed of opened) await leave(signed)
      for (const fresh of opened.filter((each) => each !== kept)) await fresh.context.close()
      const complaints = opened.flatMap((signed) => signed.complaints.splice(0))
      const requested = opened.flatMap((signed) => signed.requested.splice(0))
      opened.splice(0, opened.length, ...(kept ? [kept] : []))
      return { complaints, requested }
    },
  }
}

/** Takes a browser back to an empty page, so that nothing goes on in it. A tab that was closed is opened again. */
async function leave(signed: Signed): Promise<void> {
  const { context } = signed
  if (signed.page.isClosed()) signed.page = await context.newPage()
  for (const tab of context.pages()) if (tab !== signed.page) await tab.close()
  await signed.page.unrouteAll({ behavior: 'ignoreErrors' })
  // An empty page has no storage.
  await signed.page.evaluate('localStorage.clear(); sessionStorage.clear()').catch(() => undefined)
  await signed.page.goto('about:blank')
}
