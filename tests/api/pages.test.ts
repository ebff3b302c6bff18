import { describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { homeOf } from '../../src/api/pages/answer.tsx'
import { asksForNewLogin, readReturnTo } from '../../src/api/pages/return-to.ts'
import { onwardsOf } from '../support/apps.ts'
import { ask, cookieOf, PAGES, signIn } from '../support/browser.ts'
import { type Answer, call, newPerson } from '../support/client.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService } from '../support/use-service.ts'

const service = useService()
const person = prepare(() => newPerson(service))

const HTML = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' }
const ASSETS = ['GET /pages/page.js', 'GET /pages/style.css']
const pagesOf = (method: string) =>
  PAGES.filter((route) => route.startsWith(`${method} `) && !ASSETS.includes(route))
/** The others lead somewhere else, unless a browser is signed in; the console and the portal have headers of their own (console-files.test.ts, portal-files.test.ts). */
const drawn = pagesOf('GET').filter(
  (route) => !/\.well-known|\/login\/|\/console|\/portal|\/oauth\/logout|\/device/.test(route),
)

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ')

function expectPage(answer: Answer, status: number): void {
  const { headers } = answer
  expect([answer.status, headers.get('content-type')]).toEqual([status, 'text/html; charset=utf-8'])
  expect(headers.get('content-security-policy')).toBe(POLICY)
  expect(headers.get('referrer-policy')).toBe('same-origin')
  expect(headers.get('cache-control')).toBe('no-store')
  expect(headers.get('x-content-type-options')).toBe('nosniff')
  expect(headers.get('cross-origin-opener-policy')).toBeNull()
  expect(answer.text).toStartWith('<!doctype html><html lang="en">')
  // Nothing that the policy forbids, and nothing from elsewhere.
  for (const inline of [/<style/i, /\sstyle=/i, /\son\w+=/i, /javascript:/i, /<script(?! src=")/i])
    expect(answer.text).not.toMatch(inline)
  for (const [, target] of answer.text.matchAll(/(?:src|href|action)="([^"]*)"/g))
    expect(target).toMatch(/^(\/(?!\/)|data:,$)/)
}

const fieldsOf = ({ text }: Answer) =>
  Object.fromEntries(
    [...text.matchAll(/<input [^>]*>/g)].map(([input]) => [
      /name="([^"]*)"/.exec(input)?.[1] ?? '',
      /value="([^"]*)"/.exec(input)?.[1] ?? null,
    ]),
  )

describe('every page', () => {
  test('is one that the app has, and the app has no other', () => {
    const routes = service.app.routes.map(({ method, path }) => `${method} ${path}`)
    for (const route of PAGES) expect(routes).toContain(route)
    expect(drawn.length).toBeGreaterThan(2)
  })

  test.each(drawn)('%s is HTML whatever Accept says, under the headers of pages', async (route) => {
    // That page needs the request of an app, which is missing here.
    const status = route === 'GET /oauth/authorize' ? 400 : 200
    for (const accept of ['text/html', 'application/json', '*/*', 'image/png'])
      expectPage(await call(service, route, { headers: { accept } }), status)
  })

  test('has labels, a language, a viewport, and fields that password managers know', async () => {
    const { text } = await call(service, 'GET /login')
    expect(text).toContain('<meta name="viewport" content="width=device-width, initial-scale=1"/>')
    for (const name of ['email', 'password']) expect(text).toContain(`<label for="${name}">`)
    expect(text).toMatch(/name="email" type="email" autocomplete="username"/)
    expect(text).toMatch(/name="password" type="password" autocomplete="current-password"/)
    expect((await call(service, 'GET /signup')).text).toContain('autocomplete="new-password"')
  })

  test('names its own files, which are there', async () => {
    for (const route of ASSETS) {
      const answer = await call(service, route)
      expect(answer.status).toBe(200)
      expect(answer.headers.get('cache-control')).toBe('public, max-age=3600')
      expect(answer.headers.get('content-type')).toMatch(/^text\/(css|javascript); charset=utf-8$/)
      expect(answer.text).not.toMatch(/https?:|@import|url\(/)
    }
  })
})

describe('/login', () => {
  const post = (form: Record<string, string>, more: Record<string, string> = {}) =>
    ask(service, 'POST /login', { form, headers: { ...HTML, ...more } })

  test('signs in: 303 to the start page, with the cookie', async () => {
    const answer = await post({ email: person.email, password: person.password })
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/console'])
    expect(cookieOf(answer)).toStartWith('latchkey=st_')
    expect(answer.headers.get('set-cookie')).not.toContain('Max-Age')
    const remembered = await post({ email: person.email, password: person.password, remember: 'true' })
    expect(remembered.headers.get('set-cookie')).toContain('Max-Age')
  })

  test('refused is the same page with a sentence and the status of /session; the e-mail stays, the password goes', async () => {
    const answer = await post({ email: person.email, password: 'my-secret-guess' })
    expectPage(answer, 401)
    expect(answer.text).toContain('role="alert">Incorrect email or password.</p>')
    expect(fieldsOf(answer)).toMatchObject({ email: person.email, password: null })
    expect(answer.text).not.toContain('my-secret-guess')
    expect(answer.headers.get('set-cookie')).toBeNull()
    expectPage(await post({ email: person.email }), 422)
    expectPage(await post({ email: 'x'.repeat(2000), password: 'x' }), 422)
  })

  test('locked for too many guesses is 429 with Retry-After, on the same page', async () => {
    const someone = await newPerson(service)
    let answer = await post({ email: someone.email, password: 'wrong' })
    for (let n = 0; n < 11 && answer.status === 401; n++)
      answer = await post({ email: someone.email, password: 'wrong' })
    expectPage(answer, 429)
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(fieldsOf(answer).email).toBe(someone.email)
  })

  test('takes a form alone', async () => {
    const json = { email: person.email, password: person.password }
    expectProblem(await ask(service, 'POST /login', { json }), 'unsupported_media_type')
    const raw = new URLSearchParams([...Object.entries(json), ['email', 'b']]).toString()
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    expectProblem(await ask(service, 'POST /login', { raw, headers }), 'invalid_request')
  })

  test('goes on at once for who is signed in, unless a newer log-in is asked for', async () => {
    const headers = await signIn(service, person)
    const open = (returnTo?: string) =>
      call(
        service,
        `GET /login${returnTo === undefined ? '' : `?return_to=${encodeURIComponent(returnTo)}`}`,
        {
          headers,
        },
      )
    const goesTo = async (returnTo?: string) => {
      const answer = await open(returnTo)
      return answer.status === 303 ? answer.headers.get('location') : answer.status
    }
    expect(await goesTo()).toBe('/console')
    expect(await goesTo('/oauth/authorize?client_id=x')).toBe('/oauth/authorize?client_id=x')
    expect(await goesTo('//evil.example')).toBe('/console')
    expect(await goesTo('/login/enrol?prompt=login')).toBe(200)
    expect(await goesTo('/login/enrol?max_age=600')).toBe('/login/enrol?max_age=600')
    service.advance(601_000)
    expect(await goesTo('/login/enrol?max_age=600')).toBe(200)
    expect(asksForNewLogin(service.context, '/a?max_age=never', new Date(0))).toBe(false)
    // Of an app's request the endpoint itself decides (authorize.test.ts).
    expect(await goesTo('/oauth/authorize?prompt=login')).toBe('/oauth/authorize?prompt=login')
    expect(await goesTo('/oauth/authorize?max_age=600')).toBe('/oauth/authorize?max_age=600')
  })

  test('carries return_to through a wrong password to the place that was asked for', async () => {
    const to = '/oauth/authorize?client_id=a&state=%22%3E%3Cb%3E'
    const page = await call(service, `GET /login?return_to=${encodeURIComponent(to)}`)
    const hidden = fieldsOf(page).return_to?.replaceAll('&amp;', '&')
    expect(hidden).toBe(to)
    const wrong = await post({ email: person.email, password: 'wrong', return_to: to })
    expect(fieldsOf(wrong).return_to?.replaceAll('&amp;', '&')).toBe(to)
    const right = await post({ email: person.email, password: person.password, return_to: to })
    // No redirect after a form leads to an app.
    expect([right.status, right.headers.get('location')]).toEqual([200, null])
    expect(onwardsOf(right)?.href).toBe(new URL(to, 'http://localhost').href)
  })
})

/** What open redirects are made of, at a PUBLIC_URL without a path. */
const EVIL = [
  '//evil.example',
  '//evil.example/%2f..',
  '///evil.example',
  '/\\evil.example',
  '\\\\evil.example',
  '/\\/evil.example',
  '/\t/evil.example',
  '/\n/evil.example',
  '\t//evil.example',
  ' //evil.example',
  '/.//evil.example',
  '/..//evil.example',
  '/a/..//evil.example',
  '/./\\evil.example',
  'https:evil.example',
  'https://evil.example',
  'https:/evil.example',
  'http://auth.example.com@evil.example',
  '//user@auth.example.com/',
  '//user:password@auth.example.com/',
  '//auth.example.com:8443/',
  '//auth.example.com.evil.example/',
  'javascript:alert(1)',
  'data:text/html,x',
  'evil.example',
  '?a=b',
  '#a',
  '',
  `/${'a'.repeat(8192)}`,
]

describe('return_to', () => {
  const at = { publicUrl: 'https://auth.example.com' }
  const below = { publicUrl: 'https://example.com/auth' }

  test.each(EVIL.map((value) => [JSON.stringify(value).slice(0, 60), value]))(
    '%s is dropped',
    async (_, value) => {
      expect(readReturnTo(at, value)).toBeNull()
      const form = { email: person.email, password: person.password, return_to: value }
      const answer = await ask(service, 'POST /login', { form })
      expect([answer.status, answer.headers.get('location')]).toEqual([303, '/console'])
      const page = await call(service, `GET /login?return_to=${encodeURIComponent(value)}`)
      expect(page.status).toBe(200)
      expect(page.text).not.toContain('return_to')
    },
  )

  test('a path of ours is kept, whole', () => {
    for (const path of [
      '/',
      '/console',
      '/a?b=c&d=%2F%2Fevil#e',
      `/${'a'.repeat(8000)}`,
      '/%09/evil.example',
    ])
      expect(readReturnTo(at, path)).toBe(path)
    expect(readReturnTo(at, '//auth.example.com/console')).toBe('/console')
  })

  test('what is kept leads to our own origin, as a browser reads it', () => {
    for (const value of [...EVIL, '/%09/evil.example', '/%5cevil.example', '/%2f/evil.example', '/a//b']) {
      const kept = readReturnTo(at, value)
      if (kept !== null) expect(new URL(kept, `${at.publicUrl}/login`).origin).toBe(at.publicUrl)
    }
  })

  test('below a path of PUBLIC_URL nothing outside of it is kept', () => {
    for (const path of ['/auth', '/auth/', '/auth/console', '/auth?x=1'])
      expect(readReturnTo(below, path)).toBe(path)
    for (const path of [
      '/',
      '/authority',
      '/other',
      '/auth/../other',
      '/auth/%2e%2e/other',
      '/auth\\..\\other',
    ])
      expect(readReturnTo(below, path)).toBeNull()
  })
})

describe('/signup', () => {
  test('makes an account and leads to the log-in, which says so', async () => {
    const form = { email: 'New.Person@example.com', password: 'a-long-and-good-one' }
    const answer = await ask(service, 'POST /signup', { form })
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/login?notice=signed_up'])
    const login = await call(service, 'GET /login?notice=signed_up')
    expect(login.text).toContain('role="status">Your account is made.')
    expect((await ask(service, 'POST /login', { form })).status).toBe(303)
  })

  test('says what is wrong in words for people', async () => {
    const cases: [Record<string, string>, number, string][] = [
      [{ email: person.email, password: 'a-long-and-good-one' }, 409, 'already registered'],
      [{ email: 'no-address', password: 'a-long-and-good-one' }, 422, 'The e-mail address must'],
      [{ email: 'a@example.com', password: 'short' }, 422, 'The password must have at least 8 characters.'],
      [{ email: 'a@example.com' }, 422, 'The password is required.'],
    ]
    for (const [form, status, sentence] of cases) {
      const answer = await ask(service, 'POST /signup', { form })
      expectPage(answer, status)
      expect(answer.text).toContain(sentence)
      expect(fieldsOf(answer)).toMatchObject({ email: form.email ?? '', password: null })
    }
  })

  test('is 404 with SIGNUP=closed, and no page links to it', async () => {
    const closed = await startService({ signup: 'closed' }, service)
    try {
      expectPage(await call(closed, 'GET /signup', { headers: HTML }), 404)
      expectProblem(await call(closed, 'GET /signup'), 'not_found')
      const form = { email: 'a@example.com', password: 'a-long-and-good-one' }
      expectProblem(await ask(closed, 'POST /signup', { form }), 'not_found')
      expect((await call(closed, 'GET /login')).text).not.toContain('/signup')
      expect((await call(service, 'GET /login')).text).toContain('href="/signup"')
    } finally {
      await closed.stop()
    }
  })
})

describe('sign-out', () => {
  test('POST /logout ends the session and clears the cookie; a GET does not', async () => {
    const headers = await signIn(service, person)
    expectProblem(await call(service, 'GET /logout', { headers }), 'method_not_allowed')
    expect((await ask(service, 'POST /session/token', { headers })).status).toBe(200)
    const answer = await ask(service, 'POST /logout', { headers, form: {} })
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/logged-out'])
    expect(answer.headers.get('set-cookie')).toContain('latchkey=; Path=/; Max-Age=0')
    expectProblem(await ask(service, 'POST /session/token', { headers }), 'missing_credential')
    expect((await ask(service, 'POST /logout')).status).toBe(303)
  })
})

describe('the start page', () => {
  test('is HTML where Accept prefers it, with ways to sign in and to the documentation; else JSON as ever', async () => {
    const page = await call(service, 'GET /', { headers: HTML })
    expectPage(page, 200)
    expect(page.text).toMatch(/href="\/login">Sign in<.*href="\/docs">API documentation</)
    for (const accept of ['*/*', 'application/json', '', 'application/json, text/html;q=0.5', 'text/*'])
      expect((await call(service, 'GET /', { headers: { accept } })).body).toMatchObject({ name: 'Latchkey' })
    expect((await call(service, 'GET /')).body.docs).toBe('/docs')
  })

  test('names who is signed in, and offers to sign out', async () => {
    const headers = { ...HTML, ...(await signIn(service, person)) }
    const { text } = await call(service, 'GET /', { headers })
    expect(text).toContain(`You are signed in as ${person.email}.`)
    expect(text).toContain('<form method="post" action="/logout">')
  })

  test('/.well-known/change-password leads to where a password is changed', async () => {
    const answer = await call(service, 'GET /.well-known/change-password')
    expect([answer.status, answer.headers.get('location')]).toEqual([302, '/console/account'])
  })
})

describe('errors', () => {
  test('403, 404, 429 and 503 are pages for a browser, and problems for everybody else', async () => {
    expectPage(await call(service, 'GET /nothing', { headers: HTML }), 404)
    expectProblem(await call(service, 'GET /nothing'), 'not_found')
    const headers = { ...HTML, 'sec-fetch-site': 'cross-site' }
    expectPage(await call(service, 'POST /login', { headers, form: { email: 'a' } }), 403)
    const bearer = person.access
    expectPage(await call(service, 'GET /protected/admin', { headers: HTML, bearer }), 403)
    // No page: a browser gets what everybody gets.
    expectProblem(await call(service, 'GET /auth/me', { headers: HTML }), 'missing_credential')
    const oauth = await call(service, 'POST /oauth/token', { headers: HTML, form: { grant_type: 'x' } })
    expect(oauth.body.error).toBe('unsupported_grant_type')
  })

  test('429 keeps its headers', async () => {
    const wide = { limit: 1000, windowSeconds: 60 }
    const names = [
      'signup',
      'login',
      'refresh',
      'password',
      'mail',
      'create_key',
      'unknown_credential',
    ] as const
    const rateLimits = {
      ...Object.fromEntries(names.map((name) => [name, wide])),
      other: { limit: 1, windowSeconds: 60 },
    }
    const limited = await startService({ rateLimits } as never, service)
    try {
      await call(limited, 'GET /login', { headers: HTML })
      const answer = await call(limited, 'GET /login', { headers: HTML })
      expectPage(answer, 429)
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    } finally {
      await limited.stop()
    }
  })

  test('503 is a page too', async () => {
    const broken = await startService({}, service)
    try {
      await broken.database.close()
      const { email, password } = person
      const asked = () => ask(broken, 'POST /login', { form: { email, password }, headers: HTML })
      await until(async () => (await asked()).status === 503, 'the database is gone')
      const answer = await asked()
      expectPage(answer, 503)
      expect(answer.headers.get('retry-after')).toBe('1')
    } finally {
      await broken.stop().catch(() => {})
    }
  })
})

describe('text that others name', () => {
  const EVIL_TEXT = `"><script>alert(1)</script><img src=x onerror='a'>&lt;`

  test('is text on every page: the e-mail, return_to, the notice, the path, the brand', async () => {
    const branded = await startService({ brandName: EVIL_TEXT.slice(0, 50) }, service)
    try {
      const asked = [
        await ask(branded, 'POST /login', { form: { email: EVIL_TEXT, password: 'x' } }),
        await ask(branded, 'POST /signup', { form: { email: EVIL_TEXT, password: 'x' } }),
        await call(branded, `GET /login?return_to=/${encodeURIComponent(EVIL_TEXT)}`),
        await call(branded, `GET /login?notice=${encodeURIComponent(EVIL_TEXT)}`),
        await call(branded, `GET /${encodeURIComponent(EVIL_TEXT)}`, { headers: HTML }),
        await call(branded, 'GET /', { headers: HTML }),
      ]
      for (const { text } of asked) {
        expect(text).toContain('<!doctype html>')
        expect(text.match(/<script/g)).toHaveLength(1)
        expect(text).not.toContain('<img')
        expect(text).not.toContain("onerror='a'>")
      }
      expect(asked[0]?.text).toContain('&lt;script&gt;alert(1)&lt;/script&gt;')
    } finally {
      await branded.stop()
    }
  })
})

describe('the brand', () => {
  test('names the pages, colours them, and shows the logo', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'brand-'))
    const brandLogo = join(folder, 'logo.svg')
    writeFileSync(brandLogo, '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')
    const branded = await startService(
      { brandName: 'Acme & Sons', brandAccent: '#aa2200', brandLogo },
      service,
    )
    try {
      const page = await call(branded, 'GET /login')
      expect(page.text).toContain('<title>Sign in · Acme &amp; Sons</title>')
      expect(page.text).toContain('<img src="/pages/logo" alt="Acme &amp; Sons"/>')
      expect((await call(branded, 'GET /pages/style.css')).text).toContain(
        '--accent: #aa2200;\n  --on-accent: #ffffff',
      )
      const logo = await call(branded, 'GET /pages/logo')
      expect([logo.status, logo.headers.get('content-type')]).toEqual([200, 'image/svg+xml'])
      // Opened by itself it runs no script of its own.
      expect(logo.headers.get('content-security-policy')).toBe(POLICY)
    } finally {
      await branded.stop()
      rmSync(folder, { recursive: true })
    }
  })

  test('with another kind of file, or a large one, stops the start', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'brand-'))
    try {
      const text = join(folder, 'a.txt')
      writeFileSync(text, '<html><script>alert(1)</script></html>')
      const large = join(folder, 'large.png')
      writeFileSync(
        large,
        Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), Buffer.alloc(102400)]),
      )
      for (const brandLogo of [text, large, join(folder, 'missing.png')])
        await expect(startService({ brandLogo }, service)).rejects.toThrow('BRAND_LOGO')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe('below a path of a proxy', () => {
  const below = useService({ publicUrl: 'https://example.com/base' })

  test('every link begins with the path of PUBLIC_URL, whatever Host says', async () => {
    expect(homeOf(below.config)).toBe('/base/console')
    const headers = { ...HTML, host: 'evil.example', 'x-forwarded-host': 'evil.example' }
    for (const route of ['GET /', ...drawn, 'GET /nothing']) {
      const { text } = await call(below, route, { headers })
      const links = [...text.matchAll(/(?:src|href|action)="([^"]*)"/g)].map(([, link]) => link)
      expect(links.length).toBeGreaterThan(2)
      for (const link of links) expect(link).toMatch(/^(\/base\/|data:,$)/)
      expect(text).not.toContain('evil.example')
    }
    const someone = await newPerson(below)
    const form = { email: someone.email, password: someone.password }
    const signedIn = await ask(below, 'POST /login', { form, headers })
    expect(signedIn.headers.get('location')).toBe('/base/console')
    const out = await ask(below, 'POST /logout', { headers })
    expect(out.headers.get('location')).toBe('/base/logged-out')
    const cookie = cookieOf(signedIn) ?? ''
    expect(cookie).toStartWith('__Host-latchkey=')
    expect(signedIn.headers.get('set-cookie')).toContain('Path=/;')
  })
})
