import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type { Browser, Page } from 'playwright-core'
import { secret } from '../../src/lib/secret.ts'
import { CHROMIUM, sharedChromium, WITHOUT_CHROMIUM } from '../support/chromium.ts'
import { freePort } from '../support/free-port.ts'
import { makeCertificate, startMailServer, tokenIn } from '../support/mail-server.ts'
import { addPerson, connectTo, PASSWORD } from '../support/people.ts'
import { CADDY, NGINX, nginxAround, type RunningProxy, startProxy } from '../support/proxy.ts'
import { startService, type TestService } from '../support/service.ts'

setDefaultTimeout(240_000)

// The pages behind the files of `deploy/`, with TLS, changed as docs/behind-a-proxy.md says for a path: to a browser the
// pages, their forms, their cookie and the links of mails are all at https://localhost/auth.

const METRICS_TOKEN = 'qX7vB2mK9tQ4wZ8nR'
const certificate = makeCertificate('DNS:localhost,IP:127.0.0.1')
const FILES = { 'cert.pem': certificate.cert, 'key.pem': certificate.key }

const mails = await startMailServer()
afterAll(() => mails.stop())

const OUTSIDE = ['/.well-known/oauth-authorization-server/auth', '/.well-known/change-password']

const PROXIES = [
  {
    path: NGINX,
    recipe: {
      program: 'nginx',
      config: 'nginx.conf',
      files: { 'nginx.conf': nginxAround('behind-a-proxy.conf'), ...FILES },
      changes: [
        ['listen 443 ssl http2;', (port: number) => `listen 127.0.0.1:${port} ssl http2;`],
        ['ssl_certificate /etc/ssl/auth.example.com.pem;', () => 'ssl_certificate cert.pem;'],
        ['ssl_certificate_key /etc/ssl/auth.example.com.key;', () => 'ssl_certificate_key key.pem;'],
        ['listen 80;', () => 'listen unix:plain.sock;'],
        ['location / {', () => 'location /auth/ {'],
        ['proxy_pass http://latchkey;', () => 'proxy_pass http://latchkey/;'],
        [
          'location ~* ^/metrics(/|$) {',
          () =>
            `${OUTSIDE.map((place) => `location = ${place} { proxy_pass http://latchkey; }`).join('\n')}
             location ~* ^/auth/metrics(/|$) {`,
        ],
      ],
    },
  },
  {
    path: CADDY,
    recipe: {
      program: 'caddy',
      config: 'behind-a-proxy.Caddyfile',
      files: FILES,
      changes: [
        ['{\n\tservers {', () => '{\n\tadmin off\n\tauto_https disable_redirects\n\tservers {'],
        [
          '\nauth.example.com {',
          (port: number) => `\nhttps://localhost:${port} {\n\tbind 127.0.0.1\n\ttls cert.pem key.pem`,
        ],
        ['@metrics path /metrics /metrics/*', () => '@metrics path /auth/metrics /auth/metrics/*'],
        ['respond @metrics 404', () => 'handle @metrics {\n\trespond 404\n\t}'],
        [
          '\t# Caddy writes',
          () =>
            `\t@latchkey path /auth/* ${OUTSIDE.join(' ')}\n\thandle @latchkey {\n\turi strip_prefix /auth\n\t# Caddy writes`,
        ],
        ['keepalive 20s\n\t\t}\n\t}', () => 'keepalive 20s\n\t\t}\n\t}\n\t}'],
      ],
    },
  },
] as const

type Sent = { form?: Record<string, string>; json?: unknown; headers?: Record<string, string> }

for (const { path, recipe } of PROXIES) {
  const name = recipe.program
  describe.skipIf(!path)(
    `below a path of ${name}${path ? '' : ` (skipped: apt-get install ${name})`}`,
    () => {
      let front: RunningProxy
      let service: TestService
      let sql: ReturnType<typeof connectTo>
      let origin: string
      let base: string
      beforeAll(async () => {
        const port = await freePort()
        origin = `https://localhost:${port}`
        base = `${origin}/auth`
        service = await startService({
          publicUrl: base,
          trustedProxies: ['127.0.0.0/8'],
          console: 'off',
          metricsToken: secret(METRICS_TOKEN),
          ...mails.settings,
        })
        sql = connectTo(service)
        front = await startProxy({ ...recipe, port }, Number(new URL(service.url).port))
      })
      afterAll(async () => {
        await front?.stop()
        await sql?.end()
        await service?.stop()
      })

      /** Sends a request as a browser does; follows no redirect. */
      async function ask(method: string, url: string, { form, json, headers = {} }: Sent = {}) {
        const body = form ? new URLSearchParams(form) : json === undefined ? undefined : JSON.stringify(json)
        const answer = await fetch(url, {
          method,
          headers: {
            accept: 'text/html',
            ...(json !== undefined && { 'content-type': 'application/json' }),
            ...headers,
          },
          redirect: 'manual',
          tls: { ca: certificate.cert },
          ...(body !== undefined && { body }),
        })
        const text = await answer.text()
        return { status: answer.status, headers: answer.headers, text, goes: answer.headers.get('location') }
      }
      const own = { 'sec-fetch-site': 'same-origin' }
      const somebody = () => addPerson(sql, { email: `${Bun.randomUUIDv7()}@example.com` })
      const cookieIn = (headers: Headers) => headers.get('set-cookie')?.split(';')[0] ?? ''
      const signIn = async (form: Record<string, string>, headers: Record<string, string> = own) =>
        ask('POST', `${base}/login`, { form, headers })

      test('every page names files, forms and pages below the path, and they are there', async () => {
        const pages = [
          '/',
          '/login',
          '/signup',
          '/forgot-password',
          '/reset-password',
          '/verify-email',
          '/nothing',
        ]
        const places = new Set<string>()
        for (const page of pages) {
          const { text, headers } = await ask('GET', base + page)
          expect([page, headers.get('content-type')]).toEqual([page, 'text/html; charset=utf-8'])
          for (const [, place = ''] of text.matchAll(/(?:src|href|action)="([^"]*)"/g)) places.add(place)
        }
        expect(places.size).toBeGreaterThan(5)
        for (const place of places) {
          if (place === 'data:,') continue
          expect(place).toStartWith('/auth/')
          expect([place, (await ask('GET', origin + place)).status]).toEqual([place, 200])
        }
      })

      test('a sign-in sets the cookie for the whole host, which opens the pages and ends with the sign-out', async () => {
        const { email } = await somebody()
        const signedIn = await signIn({ email, password: PASSWORD })
        expect([signedIn.status, signedIn.goes]).toEqual([303, '/auth/'])
        const cookie = cookieIn(signedIn.headers)
        expect(cookie).toStartWith('__Host-latchkey=st_')
        expect(signedIn.headers.get('set-cookie')?.split('; ').slice(1).sort()).toEqual([
          'HttpOnly',
          'Path=/',
          'SameSite=Lax',
          'Secure',
        ])
        expect((await ask('GET', `${base}/`, { headers: { cookie } })).text).toContain(
          `signed in as ${email}`,
        )
        // The name of plain http is not read here.
        const plain = cookie.replace('__Host-', '')
        expect((await ask('GET', `${base}/`, { headers: { cookie: plain } })).text).not.toContain(email)

        const token = await ask('POST', `${base}/session/token`, { json: {}, headers: { ...own, cookie } })
        const bearer = `Bearer ${JSON.parse(token.text).access_token}`
        const me = await ask('GET', `${base}/auth/me`, { headers: { authorization: bearer } })
        expect(JSON.parse(me.text).email).toBe(email)

        const out = await ask('POST', `${base}/logout`, { headers: { ...own, cookie } })
        expect([out.status, out.goes]).toEqual([303, '/auth/logged-out'])
        expect(out.headers.get('set-cookie')).toStartWith('__Host-latchkey=; Path=/; Max-Age=0')
        expect((await ask('GET', `${base}/`, { headers: { cookie } })).text).not.toContain(email)
      })

      test('a form of another origin is refused; what a browser says of its origin arrives', async () => {
        const { email } = await somebody()
        const form = { email, password: PASSWORD }
        for (const headers of [
          { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
          { 'sec-fetch-site': 'same-site', origin: 'https://sub.localhost' },
          { origin: 'https://localhost' },
          { origin: 'null' },
          {},
        ] as Record<string, string>[]) {
          const refused = await signIn(form, headers)
          expect([headers, refused.status, cookieIn(refused.headers)]).toEqual([headers, 403, ''])
        }
        expect((await signIn(form, { origin })).status).toBe(303)
      })

      test('return_to is kept below the path, and dropped outside of it', async () => {
        const { email } = await somebody()
        const goesTo = async (return_to: string) =>
          (await signIn({ email, password: PASSWORD, return_to })).goes
        expect(await goesTo('/auth/login/enrol?a=b')).toBe('/auth/login/enrol?a=b')
        for (const place of ['/other', '/auth/../other', '/authority', '//evil.example', '/console'])
          expect([place, await goesTo(place)]).toEqual([place, '/auth/'])
      })

      test('the link of a mail leads to the page that it is for, through the proxy', async () => {
        const { email } = await somebody()
        const asked = await ask('POST', `${base}/forgot-password`, { form: { email }, headers: own })
        expect([asked.status, asked.goes]).toEqual([303, '/auth/forgot-password?notice=mailed'])
        const mail = await mails.next(email)
        const token = tokenIn(mail)
        const link = `${base}/reset-password?token=${token}`
        expect(mail.text).toContain(link)
        expect((await ask('GET', link)).text).toContain(`value="${token}"`)
        const form = { token, new_password: 'a-quite-different-one' }
        const set = await ask('POST', `${base}/reset-password`, { form, headers: own })
        expect([set.status, set.goes]).toEqual([303, '/auth/login?notice=password_set'])
        expect((await signIn({ email, password: PASSWORD })).status).toBe(401)
        expect((await signIn({ email, password: 'a-quite-different-one' })).status).toBe(303)
      })

      test('the address of a sign-in is the client’s, whatever the client says', async () => {
        const { email, id } = await somebody()
        await signIn({ email, password: 'not-the-password' }, { ...own, 'x-forwarded-for': '203.0.113.9' })
        const [event] = await sql`SELECT ip FROM latchkey.audit_events
        WHERE action = 'user.login_failed' AND target_id = ${id}`
        expect(event?.ip).toBe('127.0.0.1')
      })

      test('outside of the path are the two places that the documents name, and nothing else', async () => {
        const change = await ask('GET', `${origin}/.well-known/change-password`)
        expect([change.status, change.goes]).toEqual([302, '/auth/forgot-password'])
        const metadata = await ask('GET', `${origin}/.well-known/oauth-authorization-server/auth`)
        expect(JSON.parse(metadata.text).issuer).toBe(base)
        for (const place of ['/login', '/console', '/session', '/authority'])
          expect((await ask('GET', origin + place)).text).not.toContain('Latchkey')
        expect((await ask('GET', `${base}/login`)).text).toContain('Latchkey')
      })

      test.each(['/metrics', '/metrics/', '/METRICS', '/./metrics', '/x/../metrics', '/%6detrics'])(
        'the metrics stay inside: %s',
        async (place) => {
          const headers = { authorization: `Bearer ${METRICS_TOKEN}` }
          const tellsOf = ({ text }: { text: string }) => text.includes('latchkey_build_info')
          for (const at of [base, origin])
            expect([at, tellsOf(await ask('GET', at + place, { headers }))]).toEqual([at, false])
          expect(tellsOf(await ask('GET', `${service.url}/metrics`, { headers }))).toBe(true)
        },
      )

      describe.skipIf(!CHROMIUM)(`in a browser${WITHOUT_CHROMIUM}`, () => {
        let browser: Browser
        beforeAll(async () => {
          browser = await sharedChromium()
        })

        /** Gives the browser an authenticator in software, whose person is always there. */
        async function addAuthenticator(page: Page): Promise<void> {
          const cdp = await page.context().newCDPSession(page)
          await cdp.send('WebAuthn.enable')
          await cdp.send('WebAuthn.addVirtualAuthenticator', {
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

        test('sign-up, sign-in, a passkey, sign-in by it, and sign-out', async () => {
          const context = await browser.newContext({ ignoreHTTPSErrors: true })
          const page = await context.newPage()
          page.setDefaultTimeout(60_000)
          const requested: string[] = []
          page.on('request', (request) => requested.push(request.url()))
          const email = `${Bun.randomUUIDv7()}@example.com`
          await addAuthenticator(page)
          await page.goto(`${base}/`)
          await page.click('text=Sign in')
          await page.click('text=Create an account')
          await page.fill('#email', email)
          await page.fill('#password', PASSWORD)
          await page.click('button[type=submit]')
          await page.waitForURL(`${base}/login?notice=signed_up`)
          await page.fill('#email', email)
          await page.fill('#password', PASSWORD)
          await page.click('button[type=submit]')
          await page.waitForSelector(`text=You are signed in as ${email}`)
          expect(page.url()).toBe(`${base}/`)
          expect(await context.cookies()).toEqual([
            expect.objectContaining({
              name: '__Host-latchkey',
              path: '/',
              secure: true,
              httpOnly: true,
              sameSite: 'Lax',
            }),
          ])
          await page.goto(`${base}/login/enrol`)
          await page.click('text=Set up a passkey')
          await page.waitForSelector('.codes li')
          await page.click('text=I have kept them')
          await page.click('text=Sign out')
          await page.waitForURL(`${base}/logged-out`)
          expect(await context.cookies()).toEqual([])
          await page.click('text=Sign in again')
          await page.click('text=Sign in with a passkey')
          await page.waitForSelector(`text=You are signed in as ${email}`)
          expect(page.url()).toBe(`${base}/`)
          const elsewhere = requested.filter((url) => !url.startsWith(`${base}/`) && !url.startsWith('data:'))
          expect(elsewhere).toEqual([])
          await context.close()
        })
      })
    },
  )
}
