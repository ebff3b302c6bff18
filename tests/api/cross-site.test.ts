import { describe, expect, test } from 'bun:test'
import { cookieOf, OWN, signIn } from '../support/browser.ts'
import { type Answer, type Call, call, newPerson } from '../support/client.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const ORIGIN = 'https://auth.example.com'
const service = useService({ publicUrl: ORIGIN })
const sql = useSql(service)
const person = prepare(async () => {
  const made = await newPerson(service)
  return { ...made, ...(await signIn(service, made)) }
})

/**
 * Every route that changes something for a browser: all of them are held, also those that come later. Those of the portal take
 * a bearer or a token of the body, and never a cookie.
 */
const changing = () =>
  service.app.routes
    .map(({ method, path }) => ({ method, path: path.replace(/(.)\/$/, '$1') }))
    .filter(({ method }) => method !== 'GET')
    .filter(
      ({ path }) =>
        !/^\/(auth|keys|users|service-accounts|resources|oauth\/(?!consent$)\w+|audit|protected|signing-keys|portal|mails|verify$|region|usage)\b/.test(
          path,
        ),
    )
    .map(({ method, path }) => `${method} ${path}`)

/** What browsers send with a request that another page makes, and what old ones send. */
const FOREIGN: Record<string, Record<string, string>> = {
  'another site': { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' },
  'a sibling subdomain': { 'sec-fetch-site': 'same-site', origin: 'https://blog.example.com' },
  'an address that was typed, or a link in a mail': { 'sec-fetch-site': 'none' },
  'another site, with our own Origin': { 'sec-fetch-site': 'cross-site', origin: ORIGIN },
  'a value that no browser sends': { 'sec-fetch-site': 'Same-Origin' },
  'an old browser, from another site': { origin: 'https://evil.example' },
  'an old browser, from a sibling subdomain': { origin: 'https://blog.example.com' },
  'an old browser, from another port': { origin: 'https://auth.example.com:8443' },
  'an old browser, from plain http': { origin: 'http://auth.example.com' },
  'an old browser, from a host that begins like ours': { origin: 'https://auth.example.com.evil.example' },
  'an old browser, from a host that ends like ours': { origin: 'https://evil-auth.example.com' },
  'a sandboxed frame, or a redirect through another site': { origin: 'null' },
  'no header at all': {},
  'a Referer alone': { referer: `${ORIGIN}/login` },
}

/** A body that the route would take from our own page. */
const bodies = (route: string): Call => {
  const { email, password } = person
  if (!route.includes('/session')) return { form: { email, password } }
  return route.startsWith('DELETE') ? {} : { json: { email, password } }
}

describe('a request that changes something', () => {
  test('there are such routes, of pages and below /session', () => {
    const routes = changing()
    for (const route of [
      'POST /session',
      'DELETE /session',
      'POST /session/token',
      'POST /login',
      'POST /logout',
      'POST /oauth/consent',
    ])
      expect(routes).toContain(route)
    expect(routes.length).toBeGreaterThanOrEqual(7)
  })

  test.each(Object.keys(FOREIGN))('is refused from %s, with and without a cookie', async (who) => {
    const before = await rows()
    for (const route of changing()) {
      for (const cookie of [{}, { cookie: person.cookie }]) {
        const answer = await call(service, route, {
          ...bodies(route),
          headers: { ...FOREIGN[who], ...cookie },
        })
        expectProblem(answer, 'cross_site')
        expect(answer.headers.get('set-cookie')).toBeNull()
      }
    }
    expect(await rows()).toEqual(before)
  })

  test('is refused before its body is read', async () => {
    const raw = '{"malformed'
    for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded']) {
      const headers = { 'content-type': type, 'sec-fetch-site': 'cross-site' }
      for (const route of changing().filter((route) => route.startsWith('POST')))
        expectProblem(await call(service, route, { raw, headers }), 'cross_site')
    }
  })

  test('is refused by a page where a browser asks, as an attack shows its victim', async () => {
    const headers = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8', ...FOREIGN['another site'] }
    const answer = await call(service, 'POST /login', { form: { email: 'a', password: 'b' }, headers })
    expect([answer.status, answer.headers.get('content-type')]).toEqual([403, 'text/html; charset=utf-8'])
    expect(answer.text).toContain('Another site asks')
  })

  test('is taken from our own page, and from an old browser’s', async () => {
    const { email, password } = person
    for (const headers of [OWN, { origin: ORIGIN }, { ...OWN, origin: ORIGIN }]) {
      const answer = await call(service, 'POST /session', { json: { email, password }, headers })
      expect(answer.status).toBe(204)
      const cookie = cookieOf(answer) ?? ''
      const token = await call(service, 'POST /session/token', { headers: { ...headers, cookie } })
      expect(token.status).toBe(200)
      const out = await call(service, 'DELETE /session', { headers: { ...headers, cookie } })
      expect(out.status).toBe(204)
    }
  })

  test('is not asked of GET and HEAD, which change nothing but the last use', async () => {
    const before = await rows()
    for (const headers of Object.values(FOREIGN)) {
      const answer = await call(service, 'GET /login', { headers })
      expect([answer.status, answer.headers.get('set-cookie')]).toEqual([200, null])
    }
    const signedIn: Answer = await call(service, 'GET /login', { headers: { cookie: person.cookie } })
    expect([signedIn.status, signedIn.headers.get('set-cookie')]).toEqual([303, null])
    expect(await rows()).toEqual(before)
  })
})

describe('log-in CSRF', () => {
  test('another site cannot sign its victim in as somebody else', async () => {
    const attacker = await newPerson(service)
    const form = { email: attacker.email, password: attacker.password }
    const headers = { cookie: person.cookie, ...FOREIGN['a sibling subdomain'] }
    const answer = await call(service, 'POST /login', { form, headers })
    expectProblem(answer, 'cross_site')
    expect(
      (await call(service, 'POST /session/token', { headers: { ...OWN, cookie: person.cookie } })).status,
    ).toBe(200)
  })
})

/** Sessions and users; refused requests leave them alone. */
async function rows(): Promise<string> {
  const [row] = await sql`SELECT
    (SELECT count(*) FROM latchkey.users) || ' ' ||
    (SELECT string_agg(id::text || coalesce(ended_at::text, ''), ',' ORDER BY id) FROM latchkey.sessions) AS all`
  return row?.all
}
