import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import axe from 'axe-core'
import type { Browser } from 'playwright-core'
import { addApi, addApp, newProof, queryOf, trade } from '../support/apps.ts'
import { CHROMIUM, sharedChromium, WITHOUT_CHROMIUM } from '../support/chromium.ts'
import { addPerson, PASSWORD } from '../support/people.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

/** A folder that pictures of the pages are saved to, for a person to look at. */
const PICTURES = process.env.PICTURES

const service = useService({ isIssuer: true })
const sql = useSql(service)
const person = prepare(() => addPerson(sql))
const api = prepare(() => addApi(sql))
/** An app on the person's own machine, which notes where the browser arrives. */
const arrived: URL[] = []
const listener = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch(request) {
    arrived.push(new URL(request.url))
    return new Response('You can close this window.', { headers: { 'content-type': 'text/html' } })
  },
})
afterAll(() => listener.stop(true))
const app = prepare(() =>
  addApp(sql, { redirectUris: ['http://127.0.0.1/callback'], name: 'Notebook for the desk' }),
)

const LOOKS = [390, 1280].flatMap((width) =>
  (['light', 'dark'] as const).map((colorScheme) => ({ width, colorScheme })),
)

describe.skipIf(!CHROMIUM)(`the page of consent in a browser${WITHOUT_CHROMIUM}`, () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await sharedChromium()
  })

  test('leads from the app over the log-in back to it, at 390 and 1280 px, light and dark', async () => {
    const context = await browser.newContext()
    try {
      const page = await context.newPage()
      const complaints: string[] = []
      page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()))
      page.on('pageerror', (error) => complaints.push(String(error)))
      const { verifier, challenge } = newProof()
      const redirectUri = `http://127.0.0.1:${listener.port}/callback`
      const scope = 'openid email notes.read notes.write'
      const query = queryOf({ ...app, redirectUri }, challenge, { resource: api.identifier, scope })
      await page.goto(`${service.url}/oauth/authorize?${query}`)
      await page.fill('#email', person.email)
      await page.fill('#password', PASSWORD)
      await page.click('main form button[type=submit]')
      await page.getByRole('heading', { name: 'Allow Notebook for the desk?' }).waitFor()
      await page.evaluate(axe.source)
      for (const { width, colorScheme } of LOOKS) {
        await page.setViewportSize({ width, height: 800 })
        await page.emulateMedia({ colorScheme })
        if (PICTURES) {
          await page.screenshot({ path: `${PICTURES}/consent-${width}-${colorScheme}.png`, fullPage: true })
        }
        const faults = await page.evaluate(
          `axe.run({ resultTypes: ['violations'] }).then(({ violations }) => violations.map(({ id, nodes }) => id + ' ' + nodes.map((node) => node.html)))`,
        )
        expect(faults).toEqual([])
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width)
        // "Allow" and "Cancel" are equally easy: the same size, and the same look.
        const look = `[...document.querySelectorAll('.choice button')].map((button) => {
        const { width, height } = button.getBoundingClientRect()
        return JSON.stringify([width, height, getComputedStyle(button).backgroundColor])
      })`
        const [cancel, allow] = (await page.evaluate(look)) as string[]
        expect(cancel).toBeString()
        expect(cancel).toBe(allow)
      }
      // Complaints so far are about this test's own script.
      complaints.splice(0)
      await page.uncheck('[name="scope.notes.write"]')
      await page.getByRole('button', { name: 'Allow' }).click()
      await page.waitForURL(`${redirectUri}?**`)
      const code = new URL(page.url()).searchParams.get('code') ?? ''
      const { status, body } = await trade(service, app, { code, verifier, redirectUri })
      expect([status, body.scope]).toEqual([200, 'openid email notes.read'])
      expect(complaints.filter((text) => !text.includes('favicon'))).toEqual([])
      expect(arrived.some(({ searchParams }) => searchParams.get('code') === code)).toBe(true)
    } finally {
      await context.close()
    }
  })
})
