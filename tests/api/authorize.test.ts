import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { decodeJwt } from 'jose'
import type postgres from 'postgres'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { authorize } from '../../src/core/authorization/authorize.ts'
import { answerRequest } from '../../src/core/authorization/consent.ts'
import { createDocuments } from '../../src/core/client-metadata/documents.ts'
import { findBrowserSession } from '../../src/core/sessions/browser.ts'
import { verifyCredential } from '../../src/core/verify/verify-credential.ts'
import {
  type App,
  addApi,
  addApp,
  addAtBrowser,
  decide,
  newCode,
  newProof,
  onwardsOf,
  open,
  placeOf,
  queryOf,
  refresh,
  requestOf,
  trade,
} from '../support/apps.ts'
import { ask, cookieOf, signIn } from '../support/browser.ts'
import { type Answer, call } from '../support/client.ts'
import { APP_HOST, type DocumentServer, startDocumentServer } from '../support/document-server.ts'
import { sendMeanwhile } from '../support/meanwhile.ts'
import { addPerson, PASSWORD } from '../support/people.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService({ isIssuer: true })
const sql = useSql(service)
const connections = { holder: useSql(service), watcher: sql }
const person = prepare(() => addAtBrowser(service, sql))
const api = prepare(() => addApi(sql))
const app = prepare(() => addApp(sql))
const { challenge } = newProof()

/** The hosts of apps that describe themselves by a document. */
let hosts: DocumentServer
beforeAll(async () => {
  hosts = await startDocumentServer()
  service.context.documents = createDocuments(service.context, hosts.network)
})
afterAll(() => hosts.stop())
beforeEach(() => hosts.forget())

/** An app that its document describes, which its host serves from now on. */
function serveApp(more: Record<string, unknown> = {}): App {
  const clientId = `https://${APP_HOST}/${Bun.randomUUIDv7()}`
  const redirectUri = `https://${APP_HOST}/callback`
  hosts.serveJson({
    client_id: clientId,
    client_name: 'Written down',
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    ...more,
  })
  return { id: '', clientId, redirectUri, secret: null }
}

const queryFor = (more: Record<string, string | null> = {}, to: App = app) =>
  queryOf(to, challenge, { resource: api.identifier, scope: 'notes.read', ...more })
/** The answer that an app gets; it came by a redirect, or by a page after a form. */
const answerOf = (answer: Answer) => Object.fromEntries(placeOf(answer).searchParams)
const errorOf = (answer: Answer) => `${answer.status} ${answerOf(answer).error}`
/** How many codes and requests there are. */
const rows = async () => {
  const [row] =
    await sql`SELECT (SELECT count(*) FROM latchkey.authorization_codes) || ' ' || (SELECT count(*) FROM latchkey.oauth_grants) AS rows`
  return row?.rows
}

describe('before client and redirect URI are proven right, an error is a page', () => {
  test.each<[string, (query: URLSearchParams) => void]>([
    ['an unknown client', (query) => query.set('client_id', Bun.randomUUIDv7())],
    ['no client', (query) => query.delete('client_id')],
    ['no redirect URI', (query) => query.delete('redirect_uri')],
    ['another host', (query) => query.set('redirect_uri', 'https://evil.example/callback')],
    ['a path that goes on', (query) => query.set('redirect_uri', 'https://app.example.com/callback/more')],
    ['a query that goes on', (query) => query.set('redirect_uri', 'https://app.example.com/callback?a=b')],
    ['another case', (query) => query.set('redirect_uri', 'https://APP.example.com/callback')],
    ['another port', (query) => query.set('redirect_uri', 'https://app.example.com:8443/callback')],
    ['a user name', (query) => query.set('redirect_uri', 'https://app.example.com@evil.example/callback')],
    ['a backslash', (query) => query.set('redirect_uri', 'https://app.example.com\\@evil.example/callback')],
    [
      'a script',
      (query) => query.set('redirect_uri', 'javascript:alert(1)//https://app.example.com/callback'),
    ],
    ['a parameter twice', (query) => query.append('scope', 'notes.write')],
    ['a state twice', (query) => query.append('state', 'other')],
    ['a client twice', (query) => query.append('client_id', 'other')],
    ['a redirect URI twice', (query) => query.append('redirect_uri', 'https://evil.example/callback')],
    ['the character NUL', (query) => query.set('state', 'a\0b')],
    ['a query that is too long', (query) => query.set('state', 'x'.repeat(7000))],
  ])('%s', async (_, change) => {
    const query = new URLSearchParams(queryFor())
    change(query)
    for (const who of [null, person]) {
      const answer = await open(service, query.toString(), who)
      expect(answer.status).toBe(400)
      expect(answer.headers.get('location')).toBeNull()
      expect(onwardsOf(answer)).toBeNull()
      expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8')
    }
  })

  test('a client that is disabled', async () => {
    const gone = await addApp(sql)
    expect((await open(service, queryFor({}, gone), person)).status).toBe(200)
    await sql`UPDATE latchkey.oauth_clients SET is_active = false WHERE id = ${gone.id}`
    expect((await open(service, queryFor({}, gone), person)).status).toBe(400)
  })
})

describe('an app that names itself by the URL of its document', () => {
  const expectPage = (answer: Answer) => {
    expect(answer.status).toBe(400)
    expect([answer.headers.get('location'), onwardsOf(answer)]).toEqual([null, null])
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8')
  }

  test('is not looked up for a stranger, who signs in first, or with prompt=none reads a page', async () => {
    const written = serveApp()
    const query = queryFor({}, written)
    const sent = await open(service, query)
    const { pathname, searchParams } = placeOf(sent)
    expect([sent.status, pathname]).toEqual([302, '/login'])
    expect(searchParams.get('return_to')).toBe(`/oauth/authorize?${new URLSearchParams(query)}`)
    const silent = queryFor({ prompt: 'none' }, written)
    expectPage(await open(service, silent))
    expect([hosts.asked, hosts.resolved]).toEqual([[], []])
    // The control: the person who is signed in makes Latchkey ask the host, and the stranger gains by that.
    expect((await open(service, query, person)).status).toBe(200)
    expect(hosts.asked).toHaveLength(1)
    expect(errorOf(await open(service, silent))).toBe('302 login_required')
  })

  test.each<[string, () => App]>([
    [
      'whose host has no document',
      () => {
        const written = serveApp()
        hosts.serve((_, response) => response.writeHead(404).end())
        return written
      },
    ],
    ['whose document names another', () => serveApp({ client_id: `https://${APP_HOST}/other` })],
    ['whose redirect URI is another', () => serveApp({ redirect_uris: [`https://${APP_HOST}/elsewhere`] })],
  ])('is answered by a page to the signed-in person: one %s', async (_, make) => {
    const written = make()
    const before = await rows()
    expectPage(await open(service, queryFor({}, written), person))
    expect(hosts.asked.map(({ path }) => path)).toEqual([new URL(written.clientId).pathname])
    expect(await rows()).toBe(before)
  })

  test('gets tokens for the person who allows it, and new ones for its refresh token', async () => {
    const written = serveApp()
    const page = await open(service, queryFor({}, written), person)
    expect([page.status, page.text.includes('Written down'), page.text.includes(APP_HOST)]).toEqual([
      200,
      true,
      true,
    ])
    const code = await newCode(service, person, written, {
      resource: api.identifier,
      scope: 'notes.read',
    })
    const { status, body } = await trade(service, written, code)
    expect(status).toBe(200)
    expect(body).toMatchObject({ token_type: 'bearer', scope: 'notes.read' })
    expect(decodeJwt(body.access_token)).toMatchObject({
      aud: api.identifier,
      client_id: written.clientId,
      scope: 'notes.read',
      sub: person.id,
    })
    const next = await refresh(service, written, body.refresh_token)
    expect(next.status).toBe(200)
    expect(decodeJwt(next.body.access_token)).toMatchObject({ client_id: written.clientId })
    // All of this asked the host once.
    expect(hosts.asked).toHaveLength(1)
  })
})

describe('after that an error goes to the client, with state and iss', () => {
  test.each<[string, Record<string, string | null>]>([
    ['request_not_supported', { request: 'a.b.c' }],
    ['request_uri_not_supported', { request_uri: 'https://app.example.com/r' }],
    ['invalid_request', { response_type: null }],
    ['unsupported_response_type', { response_type: 'token' }],
    ['unsupported_response_type', { response_type: 'code id_token' }],
    ['invalid_request', { response_mode: 'fragment' }],
    ['invalid_request', { code_challenge: null }],
    ['invalid_request', { code_challenge: 'short' }],
    ['invalid_request', { code_challenge_method: null }],
    ['invalid_request', { code_challenge_method: 'plain' }],
    ['invalid_request', { prompt: 'none login' }],
    ['invalid_request', { max_age: '-1' }],
    ['invalid_target', { resource: 'https://unknown.example.com' }],
    ['invalid_target', { resource: null }],
    ['invalid_scope', { scope: 'notes.unknown' }],
    ['invalid_scope', { scope: 'latchkey:keys.read' }],
    ['invalid_scope', { scope: 'NOTES' }],
    ['login_required', { prompt: 'none' }],
  ])('%s: %j', async (error, more) => {
    const answer = await open(service, queryFor(more))
    expect(answer.status).toBe(302)
    const { origin, pathname } = placeOf(answer)
    expect(origin + pathname).toBe(app.redirectUri)
    const { error_description, ...rest } = answerOf(answer)
    expect(rest).toEqual({ error, state: 'st4te', iss: service.url })
    expect(error_description).toBeString()
  })

  test('a resource twice, which other parameters may not be', async () => {
    const answer = await open(service, `${queryFor()}&resource=${encodeURIComponent(api.identifier)}`)
    expect(errorOf(answer)).toBe('302 invalid_target')
  })

  test('a resource that is disabled, and a client without the grant', async () => {
    const off = await addApi(sql)
    await sql`UPDATE latchkey.resources SET is_active = false WHERE id = ${off.id}`
    expect(errorOf(await open(service, queryFor({ resource: off.identifier })))).toBe('302 invalid_target')
    const device = await addApp(sql, { grants: ['refresh_token'] })
    expect(errorOf(await open(service, queryFor({}, device)))).toBe('302 unauthorized_client')
  })

  test('scopes of which none is left: access_denied; some left: those', async () => {
    const purge = await open(service, queryFor({ scope: 'notes.purge' }), person)
    expect(errorOf(purge)).toBe('302 access_denied')
    const some = await open(service, queryFor({ scope: 'notes.purge notes.read' }), person)
    expect([some.text.includes('scope.notes.read'), some.text.includes('scope.notes.purge')]).toEqual([
      true,
      false,
    ])
    const holder = await addAtBrowser(service, sql, { scopes: ['notes.purge'] })
    const whole = await open(service, queryFor({ scope: 'notes.purge' }), holder)
    expect(whole.text).toContain('scope.notes.purge')
  })

  test('keeps what a redirect URI has in its query', async () => {
    const odd = await addApp(sql, { redirectUris: ['https://app.example.com/cb?tenant=%41'] })
    const answer = await open(service, queryFor({ prompt: 'none' }, odd))
    expect(answer.headers.get('location')).toStartWith(
      'https://app.example.com/cb?tenant=%41&error=login_required',
    )
  })
})

describe('a person', () => {
  test('signs in first, and the log-in goes on by a page', async () => {
    const query = queryFor({ login_hint: person.email })
    const sent = await open(service, query)
    expect(sent.status).toBe(302)
    const { pathname, searchParams } = placeOf(sent)
    const to = searchParams.get('return_to') ?? ''
    expect([pathname, to]).toEqual(['/login', `/oauth/authorize?${new URLSearchParams(query)}`])
    const login = await call(service, `GET /login?return_to=${encodeURIComponent(to)}`)
    expect(login.text).toContain(`value="${person.email}"`)
    const form = { email: person.email, password: PASSWORD, return_to: to }
    const answer = await ask(service, 'POST /login', { form })
    expect([answer.status, answer.headers.get('location')]).toEqual([200, null])
    expect(onwardsOf(answer)?.href).toBe(new URL(to, 'http://localhost').href)
    const page = await open(service, onwardsOf(answer)?.search.slice(1) ?? '', {
      cookie: cookieOf(answer) ?? '',
    })
    expect(page.status).toBe(200)
    expect(page.text).toContain('Notebook')
  })

  test('reads who asks, for what, and where it goes', async () => {
    const evil = await addApp(sql, {
      name: '<b>Evil</b>',
      redirectUris: ['http://127.0.0.1/cb'],
      source: 'dynamic',
    })
    const { text } = await open(service, queryFor({ redirect_uri: 'http://127.0.0.1:4711/cb' }, evil), person)
    expect(text).toContain('&lt;b&gt;Evil&lt;/b&gt;')
    expect(text).not.toContain('<b>Evil')
    for (const words of [
      '127.0.0.1:4711',
      'It registered itself',
      'on your own machine',
      'Read your notes',
      'notes.read',
      person.email,
      'Notes',
    ])
      expect(text).toContain(words)
    const plain = (await open(service, queryFor(), person)).text
    expect(plain).toContain('Registered by an administrator')
    expect(plain).not.toContain('on your own machine')
  })

  test('allows by a form, which a page follows with code, state and iss', async () => {
    const page = await open(service, queryFor({ scope: 'notes.read notes.write' }), person)
    const answer = await decide(service, person, requestOf(page), { scopes: ['notes.read'] })
    expect([answer.status, answer.headers.get('location')]).toEqual([200, null])
    const { origin, pathname } = placeOf(answer)
    expect(origin + pathname).toBe(app.redirectUri)
    const { code, ...rest } = answerOf(answer)
    expect(rest).toEqual({ state: 'st4te', iss: service.url })
    expect(code).toStartWith('ac_')
  })

  test('cancels as easily, and nothing is made', async () => {
    const before = await rows()
    const page = await open(service, queryFor({ prompt: 'consent' }), person)
    const answer = await decide(service, person, requestOf(page), { decision: 'cancel' })
    expect(answer.status).toBe(200)
    expect(answerOf(answer)).toMatchObject({ error: 'access_denied', state: 'st4te', iss: service.url })
    expect(await rows()).toBe(before)
    expect((await decide(service, person, requestOf(page))).status).toBe(400)
  })

  test('unticks what the app does not get', async () => {
    const mine = await addApp(sql)
    const { verifier, challenge } = newProof()
    const query = queryOf(mine, challenge, { resource: api.identifier, scope: 'notes.read notes.write' })
    const page = await open(service, query, person)
    // A value outside of the row is ignored.
    const scopes = ['notes.read', 'notes.purge', 'latchkey:keys.write']
    const answer = await decide(service, person, requestOf(page), { scopes })
    const code = placeOf(answer).searchParams.get('code') ?? ''
    const tokens = await trade(service, mine, { code, verifier, redirectUri: mine.redirectUri })
    expect(tokens.body.scope).toBe('notes.read')
    const [grant] = await sql`SELECT scopes FROM latchkey.oauth_grants WHERE client_id = ${mine.id}`
    expect(grant?.scopes).toEqual(['notes.read'])
  })

  test('who ticks nothing is asked again, and the row is not used up', async () => {
    const page = await open(service, queryFor({ prompt: 'consent' }), person)
    const none = await decide(service, person, requestOf(page))
    expect([none.status, requestOf(none)]).toEqual([422, requestOf(page)])
    const answer = await decide(service, person, requestOf(page), { scopes: ['notes.read'] })
    expect(answerOf(answer).code).toBeString()
  })
})

describe('the form of consent', () => {
  test('is taken from our own page alone, and a refused post does not use the row up', async () => {
    const page = await open(service, queryFor({ prompt: 'consent' }), person)
    const before = await rows()
    for (const headers of [
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { 'sec-fetch-site': 'none' },
    ]) {
      const answer = await decide(service, person, requestOf(page), { scopes: ['notes.read'], headers })
      expect(answer.status).toBe(403)
    }
    expect(await rows()).toBe(before)
    expect(
      answerOf(await decide(service, person, requestOf(page), { scopes: ['notes.read'] })).code,
    ).toBeString()
  })

  test('works once, also at the same moment', async () => {
    const page = await open(service, queryFor({ prompt: 'consent' }), person)
    const post = () => decide(service, person, requestOf(page), { scopes: ['notes.read'] })
    const answers = await Promise.all([post(), post(), post()])
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect((await post()).status).toBe(400)
  })

  test('works in the browser session alone for which it was made, and for ten minutes', async () => {
    const page = await open(service, queryFor({ prompt: 'consent' }), person)
    const again = await signIn(service, { email: person.email, password: PASSWORD })
    const other = await addAtBrowser(service, sql)
    for (const who of [again, other, { cookie: '' }])
      expect((await decide(service, who, requestOf(page), { scopes: ['notes.read'] })).status).toBe(400)
    service.advance(601_000)
    expect((await decide(service, person, requestOf(page), { scopes: ['notes.read'] })).status).toBe(400)
    service.advance(-601_000)
    expect((await decide(service, person, requestOf(page), { scopes: ['notes.read'] })).status).toBe(200)
  })

  test('decides by the rows as they are then', async () => {
    const mine = await addApp(sql)
    const page = await open(service, queryFor({}, mine), person)
    await sql`UPDATE latchkey.oauth_clients SET redirect_uris = '{https://app.example.com/new}' WHERE id = ${mine.id}`
    expect((await decide(service, person, requestOf(page), { scopes: ['notes.read'] })).status).toBe(400)
    await sql`UPDATE latchkey.oauth_clients SET redirect_uris = ${[mine.redirectUri]} WHERE id = ${mine.id}`
    expect((await decide(service, person, requestOf(page), { scopes: ['notes.read'] })).status).toBe(200)
  })

  test.each<
    [string, number, string, (tx: postgres.TransactionSql, mine: App, to: string) => Promise<unknown>]
  >([
    [
      'the app disabled',
      400,
      'This app may no longer be allowed here.',
      (tx, { id }) => tx`UPDATE latchkey.oauth_clients SET is_active = false WHERE id = ${id}`,
    ],
    [
      'the app deleted',
      400,
      'This app may no longer be allowed here.',
      (tx, { id }) => tx`DELETE FROM latchkey.oauth_clients WHERE id = ${id}`,
    ],
    [
      'the redirect URI withdrawn',
      400,
      'This app may no longer be allowed here.',
      (tx, { id }) => tx`UPDATE latchkey.oauth_clients SET redirect_uris = '{}' WHERE id = ${id}`,
    ],
    [
      'the resource disabled',
      400,
      'That for which the app asks is no longer here.',
      (tx, _, to) => tx`UPDATE latchkey.resources SET is_active = false WHERE id = ${to}`,
    ],
  ])('is answered by a page where it finds meanwhile: %s', async (_, status, sentence, end) => {
    const [mine, ours, someone] = [await addApp(sql), await addApi(sql), await addAtBrowser(service, sql)]
    const page = await open(service, queryFor({ resource: ours.identifier }, mine), someone)
    const request = requestOf(page)
    const answer = await sendMeanwhile(connections, {
      work: (tx) => end(tx, mine, ours.id),
      send: () => decide(service, someone, request, { scopes: ['notes.read'] }),
    })
    expect([answer.status, answer.headers.get('content-type')]).toEqual([status, 'text/html; charset=utf-8'])
    expect(answer.text).toContain(sentence)
    expect(onwardsOf(answer)).toBeNull()
    const made = await sql`SELECT FROM latchkey.oauth_grants WHERE user_id = ${someone.id}`
    expect(made).toHaveLength(0)
  })

  test('is answered by a page where another form answers at the same moment, and where the session ends', async () => {
    const someone = await addAtBrowser(service, sql)
    const page = await open(service, queryFor({}), someone)
    const post = () => decide(service, someone, requestOf(page), { scopes: ['notes.read'] })
    const used = await sendMeanwhile(connections, {
      work: (tx) =>
        tx`UPDATE latchkey.authorization_requests SET used_at = now() WHERE id = ${requestOf(page)}`,
      send: post,
    })
    expect([used.status, used.headers.get('content-type')]).toEqual([409, 'text/html; charset=utf-8'])
    expect(used.text).toContain('This was answered already.')
    await sql`UPDATE latchkey.authorization_requests SET used_at = NULL WHERE id = ${requestOf(page)}`
    const over = await sendMeanwhile(connections, {
      work: (tx) => tx`UPDATE latchkey.sessions SET ended_at = now() WHERE user_id = ${someone.id}`,
      send: post,
    })
    expect([over.status, over.headers.get('content-type')]).toEqual([401, 'text/html; charset=utf-8'])
    expect(over.text).toContain('You are no longer signed in.')
  })

  test('cannot be framed, and is not kept', async () => {
    const { headers } = await open(service, queryFor({ prompt: 'consent' }), person)
    expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
    expect(headers.get('cache-control')).toBe('no-store')
  })
})

describe('consent is remembered', () => {
  const allow = async (to: App, more: Record<string, string | null> = {}) => {
    const page = await open(service, queryFor(more, to), person)
    const shown = [...page.text.matchAll(/name="scope\.([^"]+)"/g)].map(([, name]) => name ?? '')
    return decide(service, person, requestOf(page), { scopes: shown })
  }

  test('for an https redirect, the same resource and no more scopes', async () => {
    const mine = await addApp(sql)
    await allow(mine, { scope: 'notes.read notes.write' })
    for (const scope of ['notes.read notes.write', 'notes.read']) {
      const again = await open(service, queryFor({ scope, prompt: 'none' }, mine), person)
      expect([again.status, answerOf(again).code?.slice(0, 3)]).toEqual([302, 'ac_'])
    }
    const other = await addApi(sql)
    const elsewhere = await open(
      service,
      queryFor({ resource: other.identifier, prompt: 'none' }, mine),
      person,
    )
    expect(errorOf(elsewhere)).toBe('302 consent_required')
    expect((await open(service, queryFor({ prompt: 'consent' }, mine), person)).status).toBe(200)
    const somebody = await addAtBrowser(service, sql)
    expect((await open(service, queryFor({}, mine), somebody)).status).toBe(200)
  })

  test('not for a loopback redirect, nor for one of a private-use scheme', async () => {
    for (const uri of ['http://127.0.0.1:4711/cb', 'com.example.notes:/cb']) {
      const mine = await addApp(sql, { redirectUris: [uri] })
      await allow(mine)
      const again = await open(service, queryFor({}, mine), person)
      expect(again.status).toBe(200)
      expect(again.text).toContain('allowed before')
      expect(errorOf(await open(service, queryFor({ prompt: 'none' }, mine), person))).toBe(
        '302 consent_required',
      )
    }
  })

  test('asking for more shows the union, and widens the grant', async () => {
    const mine = await addApp(sql)
    await allow(mine, { scope: 'notes.read' })
    const page = await open(service, queryFor({ scope: 'notes.write' }, mine), person)
    expect(page.status).toBe(200)
    expect(page.text).toContain('Write notes for you')
    expect(page.text).toContain('Read your notes')
    await decide(service, person, requestOf(page), { scopes: ['notes.write'] })
    const [grant] = await sql`SELECT id, scopes FROM latchkey.oauth_grants WHERE client_id = ${mine.id}`
    expect(grant?.scopes).toEqual(['notes.read', 'notes.write'])
    const events =
      await sql`SELECT action FROM latchkey.audit_events WHERE target_id = ${grant?.id} ORDER BY at`
    expect(events.map(({ action }) => action)).toEqual(['grant.allowed', 'grant.widened'])
  })
})

describe('prompt=login and max_age', () => {
  const logIn = async (sent: Answer) => {
    const to = placeOf(sent).searchParams.get('return_to') ?? ''
    const form = { email: person.email, password: PASSWORD, return_to: to }
    const answer = await ask(service, 'POST /login', { form })
    return { to, cookie: cookieOf(answer) ?? '', query: onwardsOf(answer)?.search.slice(1) ?? '' }
  }

  test.each([{ prompt: 'login' }, { max_age: '0' }])(
    '%j is met by a log-in after the request',
    async (more) => {
      const here = await signIn(service, { email: person.email, password: PASSWORD })
      await Bun.sleep(2)
      const sent = await open(service, queryFor(more), here)
      expect([sent.status, placeOf(sent).pathname]).toEqual([302, '/login'])
      // The log-in is asked of a person who is signed in.
      const page = await call(service, `GET ${placeOf(sent).pathname}${placeOf(sent).search}`, {
        headers: here,
      })
      expect(page.status).toBe(200)
      const { cookie, query } = await logIn(sent)
      const answer = await open(service, query, { cookie })
      expect(answer.status === 200 || answerOf(answer).code !== undefined).toBe(true)
    },
  )

  test('a time that was made up, or of another request, does not meet it', async () => {
    const here = await signIn(service, { email: person.email, password: PASSWORD })
    await Bun.sleep(2)
    const sent = await open(service, queryFor({ prompt: 'login' }), here)
    const genuine = new URLSearchParams(placeOf(sent).searchParams.get('return_to')?.split('?')[1])
    const mark = genuine.get('asked_at') ?? ''
    const { cookie, query } = await logIn(sent)
    const [, mac] = mark.split('.')
    for (const fake of ['0', `0.${mac}`, '1.x', mark.toUpperCase(), ''])
      expect(
        placeOf(await open(service, queryFor({ prompt: 'login', asked_at: fake }), { cookie })).pathname,
      ).toBe('/login')
    const other = new URLSearchParams(query)
    other.set('state', 'other')
    expect(placeOf(await open(service, other.toString(), { cookie })).pathname).toBe('/login')
    // The right one is good for an hour.
    expect((await open(service, query, { cookie })).status).toBeOneOf([200, 302])
    service.advance(3_601_000)
    expect(placeOf(await open(service, query, { cookie })).pathname).toBe('/login')
    service.advance(-3_601_000)
  })

  test('max_age lets a log-in pass that is recent enough', async () => {
    const here = await signIn(service, { email: person.email, password: PASSWORD })
    const answer = await open(service, queryFor({ max_age: '600', prompt: 'none' }), here)
    expect(answerOf(answer).error).not.toBe('login_required')
    service.advance(601_000)
    expect(errorOf(await open(service, queryFor({ max_age: '600', prompt: 'none' }), here))).toBe(
      '302 login_required',
    )
    service.advance(-601_000)
  })
})

describe('without a resource', () => {
  test('an app gets a token for userinfo by openid', async () => {
    const mine = await addApp(sql)
    const ask = { scope: 'openid email', nonce: 'n0nce' }
    const code = await newCode(service, person, mine, ask)
    const [stored] =
      await sql`SELECT nonce FROM latchkey.authorization_codes ORDER BY created_at DESC LIMIT 1`
    expect(stored?.nonce).toBe('n0nce')
    const { body } = await trade(service, mine, code)
    expect(body.scope).toBe('openid email')
    const claims = decodeJwt(body.access_token)
    expect(claims).toMatchObject({ aud: `${service.url}/oauth/userinfo`, scope: 'openid email' })
    expect(claims).not.toHaveProperty('role')
    const principal = await verifyCredential(service.context, body.access_token)
    expect(principal).toMatchObject({ kind: 'client', identityScopes: ['openid', 'email'], scopes: [] })
    expect(
      errorOf(await open(service, queryOf(mine, challenge, { scope: 'openid notes.read' }), person)),
    ).toBe('302 invalid_scope')
  })

  test('a first-party app gets a user’s token, without a page where its redirect is its own', async () => {
    const ours = await addApp(sql, { firstParty: true })
    const silent = await open(service, queryOf(ours, challenge, { prompt: 'none' }), person)
    expect(answerOf(silent).code).toBeString()
    const { body } = await trade(service, ours, await newCode(service, person, ours))
    expect(decodeJwt(body.access_token)).toMatchObject({ aud: service.config.jwtAudience, role: 'user' })
    expect((await call(service, 'GET /auth/me', { bearer: body.access_token })).body.id).toBe(person.id)
    const next = await refresh(service, ours, body.refresh_token)
    expect(decodeJwt(next.body.access_token)).toMatchObject({ role: 'user' })
    const narrow = (await trade(service, ours, await newCode(service, person, ours, { scope: 'read' }))).body
    expect(decodeJwt(narrow.access_token)).toMatchObject({ narrowed: true, scope: 'read' })
    await sql`UPDATE latchkey.oauth_clients SET first_party = false WHERE id = ${ours.id}`
    expect((await refresh(service, ours, next.body.refresh_token)).body.error).toBe('invalid_grant')
  })

  test('a first-party app on the person’s own machine is asked each time, unless it is confidential', async () => {
    const redirectUris = ['http://127.0.0.1/cb']
    const tool = await addApp(sql, { firstParty: true, redirectUris })
    const page = await open(service, queryOf(tool, challenge), person)
    expect(page.status).toBe(200)
    expect(answerOf(await decide(service, person, requestOf(page))).code).toBeString()
    expect((await open(service, queryOf(tool, challenge), person)).status).toBe(200)
    const web = await addApp(sql, { firstParty: true, redirectUris, kind: 'confidential' })
    expect((await open(service, queryOf(web, challenge), person)).status).toBe(302)
  })

  test('the documentation is built in, with one redirect, and is not asked', async () => {
    const docs = { clientId: 'latchkey-docs', redirectUri: `${service.url}/docs/oauth2-redirect` }
    const answer = await open(service, queryOf(docs, challenge), person)
    expect(answerOf(answer).code).toBeString()
    const { port } = new URL(service.url)
    const elsewhere = { ...docs, redirectUri: docs.redirectUri.replace(`:${port}`, ':9') }
    expect((await open(service, queryOf(elsewhere, challenge), person)).status).toBe(400)
  })
})

describe('Latchkey’s own resource', () => {
  test('is for apps that an admin registered with a scope of it', async () => {
    const resource = `${service.url}/latchkey`
    const maker = await addApp(sql, { scopes: ['latchkey:keys.read', 'read'] })
    const code = await newCode(service, person, maker, { resource, scope: 'latchkey:keys.read' })
    const { body } = await trade(service, maker, code)
    expect(decodeJwt(body.access_token)).toMatchObject({ aud: resource, scope: 'latchkey:keys.read' })
    const written = serveApp()
    expect((await open(service, queryFor({}, written), person)).status).toBe(200)
    await sql`UPDATE latchkey.oauth_clients SET scopes = '{latchkey:keys.read}' WHERE client_id = ${written.clientId}`
    for (const other of [
      await addApp(sql),
      await addApp(sql, { scopes: ['read'] }),
      await addApp(sql, { source: 'dynamic', scopes: ['latchkey:keys.read'] }),
      written,
    ]) {
      const query = queryOf(other, challenge, { resource, scope: 'latchkey:keys.read' })
      expect(errorOf(await open(service, query, person))).toBe('302 invalid_scope')
    }
    const more = queryOf(maker, challenge, { resource, scope: 'latchkey:keys.write' })
    expect(errorOf(await open(service, more, person))).toBe('302 invalid_scope')
  })
})

test('POST is answered 303 to the same as GET, from anywhere, and reads no cookie', async () => {
  const form = Object.fromEntries(new URLSearchParams(queryFor()))
  const headers = { 'sec-fetch-site': 'cross-site', cookie: person.cookie }
  const answer = await call(service, 'POST /oauth/authorize', { form, headers })
  expect(answer.status).toBe(303)
  expect(answer.headers.get('location')).toBe(`/oauth/authorize?${new URLSearchParams(queryFor())}`)
})

test('a person who has to set up a second factor does that first', async () => {
  const strict = { ...service.config, requireMfa: 'all' as const }
  const { context } = service
  const before = context.config
  context.config = strict
  try {
    const newcomer = await addPerson(sql)
    const here = await signIn(service, { email: newcomer.email, password: PASSWORD })
    const session = await findBrowserSession(context, SYSTEM, here.cookie.split('=')[1] ?? '')
    const outcome = await authorize(context, SYSTEM, queryFor(), session)
    expect(outcome).toMatchObject({ kind: 'enrol' })
    expect(await authorize(context, SYSTEM, queryFor({ prompt: 'none' }), session)).toMatchObject({
      kind: 'redirect',
    })
    // Also where the page was drawn before that was asked.
    context.config = before
    const request = requestOf(await open(service, queryFor(), here))
    const answer = { requestId: request, isAllowed: true, ticked: ['notes.read'] }
    if (session === null) throw new Error('No session')
    context.config = strict
    expect(await answerRequest(context, SYSTEM, session, answer)).toMatchObject({ kind: 'refused' })
    context.config = before
    expect(await answerRequest(context, SYSTEM, session, answer)).toMatchObject({ kind: 'redirect' })
  } finally {
    context.config = before
  }
})

describe('with a shared secret', () => {
  const shared = useService({ algorithm: 'HS256' })

  test('there are no such routes', async () => {
    for (const route of [
      'GET /oauth/authorize',
      'POST /oauth/authorize',
      'POST /oauth/consent',
      'GET /auth/grants',
    ])
      expect((await call(shared, route)).status).toBe(404)
    const form = {
      grant_type: 'authorization_code',
      code: 'a',
      redirect_uri: 'b',
      code_verifier: 'c',
      client_id: 'd',
    }
    const answer = await call(shared, 'POST /oauth/token', { form })
    expect(answer.body.error).toBe('unsupported_grant_type')
  })
})
