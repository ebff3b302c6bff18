import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { builtBinary, emptyDirectory, startProgram } from '../support/binary.ts'
import { CHROMIUM, sharedChromium, WITHOUT_CHROMIUM } from '../support/chromium.ts'
import { call } from '../support/client.ts'
import { openPlace, settle, signInByPage } from '../support/console.ts'
import { PASSWORD } from '../support/people.ts'
import { NGINX, nginxAround, startProxy } from '../support/proxy.ts'

setDefaultTimeout(180_000)

const EMAIL = 'bob@example.com'
const why = CHROMIUM ? (NGINX ? '' : ' (skipped: apt-get install nginx)') : WITHOUT_CHROMIUM

describe.skipIf(!CHROMIUM || !NGINX)(`the console in the binary${why}`, () => {
  test('works behind nginx below a path: sign-in, a key, its page, sign-out', async () => {
    using home = emptyDirectory()
    const latchkey = join(home.path, 'latchkey')
    // Away from the source tree, so that nothing of it can be read.
    copyFileSync(await builtBinary(), latchkey)
    // The port is the proxy's, which is not chosen yet: a browser's own word says that a request is of this origin.
    const env = { PUBLIC_URL: 'http://127.0.0.1/auth', TRUSTED_PROXIES: '127.0.0.1/32' }
    await using server = await startProgram([latchkey], { cwd: home.path, env })
    await call(server, 'POST /auth/signup', { json: { email: EMAIL, password: PASSWORD } })
    const recipe = {
      program: 'nginx',
      config: 'nginx.conf',
      files: { 'nginx.conf': nginxAround('behind-a-proxy.conf') },
      changes: [
        ['listen 443 ssl http2;', (port: number) => `listen 127.0.0.1:${port};`],
        ['ssl_certificate /etc/ssl/auth.example.com.pem;', () => ''],
        ['ssl_certificate_key /etc/ssl/auth.example.com.key;', () => ''],
        ['listen 80;', () => 'listen unix:plain.sock;'],
        ['location / {', () => 'location /auth/ {'],
        ['proxy_pass http://latchkey;', () => 'proxy_pass http://latchkey/;'],
      ],
    } as const
    const front = await startProxy(recipe, Number(new URL(server.url).port))
    const base = `${front.url}/auth`
    const { page, context, complaints, requested } = await signInByPage(await sharedChromium(), base, EMAIL)
    try {
      await openPlace(page, base, 'keys/new')
      await page.getByLabel('Name').fill('from the binary')
      await page.getByLabel('read', { exact: true }).check()
      await page.getByRole('button', { name: 'Create' }).click()
      const key = (await page.locator('pre').first().textContent()) ?? ''
      expect((await call(server, 'GET /protected/service-only', { apiKey: key })).status).toBe(200)
      await page.getByLabel('I have saved the key').check()
      await page.getByRole('button', { name: 'Go to the key' }).click()
      await page.getByRole('heading', { name: 'from the binary' }).waitFor()
      await page.reload()
      await settle(page)
      expect(page.url()).toStartWith(`${base}/console/keys/`)
      // The portal's page is there too, with files of its own.
      await page.goto(`${base}/portal`)
      await page.getByRole('heading', { name: 'Open this page again' }).waitFor()
      await page.goto(`${base}/console/keys`)
      await settle(page)
      await page.getByRole('button', { name: 'Sign out' }).click()
      await page.waitForURL(`${base}/logged-out`)
      expect(complaints).toEqual([])
      expect(requested.filter((url) => !url.startsWith(`${base}/`) && !url.startsWith('data:'))).toEqual([])
    } finally {
      await context.close()
      await front.stop()
    }
  })
})
