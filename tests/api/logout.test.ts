import { beforeAll, describe, expect, test } from 'bun:test'
import { DAY_MS, HOUR_MS } from '../../src/lib/time.ts'
import { type Call, call, logIn, newKey, newPerson } from '../support/client.ts'
import { expectProblem } from '../support/problem.ts'
import { claimsOf, refresh, resign } from '../support/refresh.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

type Tokens = { access: string; refresh: string }

const service = useService()
const sql = useSql(service)
const person = prepare(() => newPerson(service))
/** A session that no test ends. */
let bystander: Tokens
beforeAll(async () => {
  bystander = await begin()
})

const begin = (): Promise<Tokens> => logIn(service, person.email, person.password)
const logOut = (options: Call) => call(service, 'POST /auth/logout', options)
const me = (bearer: string) => call(service, 'GET /auth/me', { bearer })
const auditOf = async (token: string) =>
  sql`SELECT action, actor_type, actor_id, details FROM latchkey.audit_events
    WHERE action <> 'session.refresh_refused' AND target_id = ${claimsOf(service, token).sessionId}`

async function expectLive(tokens: Tokens): Promise<void> {
  expect((await me(tokens.access)).status).toBe(200)
  const [session] = await sql`
    SELECT ended_at FROM latchkey.sessions WHERE id = ${claimsOf(service, tokens.refresh).sessionId}`
  expect(session?.ended_at).toBeNull()
}

async function expectOver(tokens: Tokens): Promise<void> {
  expectProblem(await me(tokens.access), 'invalid_token')
  expectProblem(await refresh(service, tokens.refresh), 'invalid_token')
}

async function next(token: string): Promise<Tokens> {
  const { body } = await refresh(service, token)
  return { access: body.access_token, refresh: body.refresh_token }
}

describe('a logout ends its own session only', () => {
  test.each([
    ['by its refresh token', (t: Tokens) => ({ json: { refresh_token: t.refresh } })],
    ['by its access token', (t: Tokens) => ({ bearer: t.access })],
    ['by its access token and an empty body', (t: Tokens) => ({ bearer: t.access, json: {} })],
    [
      'by its access token and a null refresh token',
      (t: Tokens) => ({ bearer: t.access, json: { refresh_token: null } }),
    ],
    [
      'by its access token, in capitals',
      (t: Tokens) => ({ headers: { authorization: `BEARER ${t.access}` } }),
    ],
    [
      'by its refresh token, whatever else is in the header',
      (t: Tokens) => ({ json: { refresh_token: t.refresh }, bearer: 'long-expired' }),
    ],
    [
      'by its refresh token, not that of the access token beside it',
      (t: Tokens) => ({ json: { refresh_token: t.refresh }, bearer: bystander.access }),
    ],
  ])('%s', async (_, options) => {
    const tokens = await begin()
    await expectLive(tokens)
    const answer = await logOut(options(tokens))
    expect([answer.status, answer.text]).toEqual([204, ''])
    await expectOver(tokens)
    expect(await auditOf(tokens.refresh)).toMatchObject([
      { action: 'session.ended', actor_type: 'user', actor_id: person.id, details: { reason: 'logout' } },
    ])
    // A second logout has the same answer, and no audit row.
    expect((await logOut(options(tokens))).status).toBe(204)
    expect(await auditOf(tokens.refresh)).toHaveLength(1)
    await expectLive(bystander)
  })

  test.each([
    ['the one before', 0],
    ['two before', 1],
    ['the present one', 2],
  ])('by any genuine generation: %s', async (_, ago) => {
    const first = await begin()
    const second = await next(first.refresh)
    const third = await next(second.refresh)
    const presented = [second, first, third][ago]?.refresh ?? ''
    service.advance(HOUR_MS / 4)
    expect((await logOut({ json: { refresh_token: presented } })).status).toBe(204)
    await expectOver(third)
    expect(await auditOf(third.refresh)).toMatchObject([{ action: 'session.ended' }])
  })

  test('by a generation ahead of the database, after a restore', async () => {
    const tokens = await begin()
    const ahead = resign(service, tokens.refresh, { generation: 9 })
    expect((await logOut({ json: { refresh_token: ahead } })).status).toBe(204)
    await expectOver(tokens)
  })
})

describe('a logout by anything else answers 204 too, and ends no session', () => {
  test.each([
    ['nothing', () => ({})],
    ['an empty object', () => ({ json: {} })],
    ['null', () => ({ json: null })],
    ['garbage', () => ({ json: { refresh_token: 'garbage' } })],
    ['an empty token', () => ({ json: { refresh_token: '' } })],
    [
      'a token of another salt',
      (t: Tokens) => withToken(resign(service, t.refresh, { salt: new Uint8Array(16) })),
    ],
    ['a token that is altered', (t: Tokens) => withToken(`${t.refresh.slice(0, -1)}_`)],
    ['a token that is cut', (t: Tokens) => withToken(t.refresh.slice(0, -1))],
    ['an access token in the place of a refresh token', (t: Tokens) => withToken(t.access)],
    ['a refresh token in the place of an access token', (t: Tokens) => ({ bearer: t.refresh })],
    ['a garbled bearer', () => ({ bearer: 'garbage' })],
    ['an altered bearer', (t: Tokens) => ({ bearer: altered(t.access) })],
    ['another scheme', () => ({ headers: { authorization: 'Basic dXNlcjpwYXNz' } })],
    ['an access token in X-API-Key', (t: Tokens) => ({ apiKey: t.access })],
  ])('%s', async (_, options) => {
    const tokens = await shared()
    const answer = await logOut(options(tokens))
    expect([answer.status, answer.text]).toEqual([204, ''])
    await expectLive(tokens)
    expect(await auditOf(tokens.refresh)).toHaveLength(0)
  })

  const withToken = (token: string) => ({ json: { refresh_token: token } })
  /** With another character in the middle of the signature: some bits of the last one count for nothing. */
  const altered = (token: string) => {
    const at = token.length - 40
    return `${token.slice(0, at)}${token[at] === 'x' ? 'y' : 'x'}${token.slice(at + 1)}`
  }
  let kept: Tokens | null = null
  const shared = async () => {
    kept ??= await begin()
    return kept
  }

  test('an API key, which stays valid', async () => {
    const tokens = await begin()
    const { key } = await newKey(service, tokens.access, { scopes: 'read' })
    for (const options of [{ bearer: key }, { apiKey: key }]) expect((await logOut(options)).status).toBe(204)
    expect((await call(service, 'GET /protected/service-only', { apiKey: key })).status).toBe(200)
    await expectLive(tokens)
  })

  test('an access token that has expired', async () => {
    const tokens = await begin()
    service.advance(HOUR_MS)
    expect((await logOut({ bearer: tokens.access })).status).toBe(204)
    const renewed = await next(tokens.refresh)
    await expectLive(renewed)
    expect((await logOut({ bearer: renewed.access })).status).toBe(204)
    await expectOver(renewed)
  })

  test('a refresh token of a session that has expired', async () => {
    const tokens = await begin()
    service.advance(8 * DAY_MS)
    expect((await logOut({ json: { refresh_token: tokens.refresh } })).status).toBe(204)
    expect(await auditOf(tokens.refresh)).toHaveLength(0)
  })
})
