import { describe, expect, test } from 'bun:test'
import { verifyCredential } from '../../src/core/verify/verify-credential.ts'
import { addApi, addApp, addAtBrowser, newCode, refresh, trade } from '../support/apps.ts'
import { call } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { expectOAuthError } from '../support/oauth.ts'
import { addLoggedIn, beginSession } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const other = useService({}, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const api = prepare(() => addApi(sql))

/** A person who allowed an app, with their own token and the app's. */
async function allowed() {
  const person = await addAtBrowser(service, sql)
  const app = await addApp(sql)
  const code = await newCode(service, person, app, { resource: api.identifier, scopes: ['notes.read'] })
  const { access_token, refresh_token } = (await trade(service, app, code)).body
  const { access } = await beginSession(service, person)
  return { person, app, bearer: access, token: access_token, refreshToken: refresh_token, code }
}

const isLive = async (token: string, at = service) =>
  (await verifyCredential(at.context, token)).kind !== 'refused'

describe('a person', () => {
  test('sees what they allowed, with its use and its sessions', async () => {
    const { person, app, bearer, refreshToken } = await allowed()
    await trade(
      service,
      app,
      await newCode(service, person, app, { resource: api.identifier, scopes: ['notes.read'] }),
    )
    await refresh(service, app, refreshToken)
    const { status, body } = await call(service, 'GET /auth/grants', { bearer })
    expect(status).toBe(200)
    expect(body.next_cursor).toBeNull()
    expect(body.items).toHaveLength(1)
    expect(body.items[0]).toMatchObject({
      client: { client_id: app.clientId, name: 'Notebook', host: null, source: 'registered' },
      resource: { identifier: api.identifier, name: 'Notes' },
      scopes: ['notes.read'],
      sessions: 2,
    })
    expect(Date.parse(body.items[0].last_used_at)).toBeGreaterThanOrEqual(
      Date.parse(body.items[0].first_allowed_at),
    )
    const seen = await call(service, `GET /users/${person.id}/grants`, { bearer: admin.access })
    expect(seen.body.items).toEqual(body.items)
    // The list of sessions holds the person's own alone.
    const sessions = await call(service, 'GET /auth/sessions', { bearer })
    expect(sessions.body.items.map(({ kind }: { kind: string }) => kind).sort()).toEqual(['api', 'browser'])
  })

  test('reads the list in pages', async () => {
    const { person, bearer } = await allowed()
    for (let i = 0; i < 2; i++)
      await newCode(service, person, await addApp(sql), { resource: api.identifier, scopes: ['notes.read'] })
    const first = await call(service, 'GET /auth/grants?limit=2', { bearer })
    expect(first.body.items).toHaveLength(2)
    const cursor = encodeURIComponent(first.body.next_cursor)
    const rest = await call(service, `GET /auth/grants?limit=2&cursor=${cursor}`, { bearer })
    expect(rest.body.items).toHaveLength(1)
    expect(rest.body.next_cursor).toBeNull()
  })

  test('cuts an app off at once, on every server', async () => {
    const { person, app, bearer, token, refreshToken } = await allowed()
    const kept = await allowed()
    const pending = await newCode(service, person, app, { resource: api.identifier, scopes: ['notes.read'] })
    for (const at of [service, other]) expect(await isLive(token, at)).toBe(true)
    const [grant] = (await call(service, 'GET /auth/grants', { bearer })).body.items
    expectProblem(
      await call(service, `DELETE /auth/grants/${grant.id}`, { bearer: kept.bearer }),
      'not_found',
    )
    expect((await call(service, `DELETE /auth/grants/${grant.id}`, { bearer })).status).toBe(204)
    expect(await isLive(token)).toBe(false)
    await until(async () => !(await isLive(token, other)), 'the token is refused on the other server')
    expectOAuthError(await refresh(service, app, refreshToken), 400, 'invalid_grant')
    expectOAuthError(await trade(service, app, pending), 400, 'invalid_grant')
    expectProblem(await call(service, `DELETE /auth/grants/${grant.id}`, { bearer }), 'not_found')
    expect((await call(service, 'GET /auth/grants', { bearer })).body.items).toEqual([])
    expect(await isLive(kept.token)).toBe(true)
    const [event] = await sql`SELECT actor_id, details FROM latchkey.audit_events
      WHERE action = 'grant.ended' AND target_id = ${grant.id}`
    expect(event).toMatchObject({
      actor_id: person.id,
      details: { user_id: person.id, client_id: app.id, sessions: 1 },
    })
  })

  test('cuts off with it the keys that the app made, where they say so', async () => {
    const { person, bearer } = await allowed()
    const [grant] = (await call(service, 'GET /auth/grants', { bearer })).body.items
    const make = async (createdBy: string | null) => {
      const { id, key } = (await call(service, 'POST /keys', { bearer, json: {} })).body
      await sql`UPDATE latchkey.api_keys SET created_by = ${createdBy} WHERE id = ${id}`
      return { id, key }
    }
    const own = await make(null)
    const made = await make(grant.id)
    const madeByThat = await make(made.id)
    const statuses = async () =>
      Promise.all(
        [own, made, madeByThat].map(
          async ({ key }) => (await call(service, 'GET /protected/any', { apiKey: key })).status,
        ),
      )
    expect(await statuses()).toEqual([200, 200, 200])
    expect((await call(service, `DELETE /auth/grants/${grant.id}?created=true`, { bearer })).status).toBe(204)
    expect(await statuses()).toEqual([200, 401, 401])
    expect(person.id).toBeDefined()
  })

  test('keeps the keys that the app made, without a word', async () => {
    const { person, bearer } = await allowed()
    const [grant] = (await call(service, 'GET /auth/grants', { bearer })).body.items
    const { id, key } = (await call(service, 'POST /keys', { bearer, json: {} })).body
    await sql`UPDATE latchkey.api_keys SET created_by = ${grant.id} WHERE id = ${id}`
    expect((await call(service, `DELETE /auth/grants/${grant.id}`, { bearer })).status).toBe(204)
    expect((await call(service, 'GET /protected/any', { apiKey: key })).status).toBe(200)
    // The audit trail says whose it was, which app's and for what, also when the app is gone.
    const [row] = await sql`SELECT details FROM latchkey.audit_events
      WHERE action = 'grant.ended' AND target_id = ${grant.id}`
    expect(row?.details).toMatchObject({
      user_id: person.id,
      client_name: grant.client.name,
      resource: grant.resource.identifier,
    })
  })
})

test('an admin cuts an app off from a user; others do not', async () => {
  const { person, bearer, token } = await allowed()
  const [grant] = (await call(service, 'GET /auth/grants', { bearer })).body.items
  const path = `DELETE /users/${person.id}/grants/${grant.id}`
  expectProblem(await call(service, path, { bearer }), 'forbidden')
  expectProblem(
    await call(service, `DELETE /users/${admin.id}/grants/${grant.id}`, { bearer: admin.access }),
    'not_found',
  )
  expect(await isLive(token)).toBe(true)
  expect((await call(service, path, { bearer: admin.access })).status).toBe(204)
  expect(await isLive(token)).toBe(false)
})

describe('what ends an app’s sessions keeps what the person allowed, unless it says otherwise', () => {
  const grantsOf = async (id: string) =>
    (await sql`SELECT id FROM latchkey.oauth_grants WHERE user_id = ${id}`).length

  test('log-out everywhere by an admin, and a user who is disabled', async () => {
    for (const end of ['logout', 'disable'] as const) {
      const { person, app, token, refreshToken } = await allowed()
      const answer =
        end === 'logout'
          ? await call(service, `POST /users/${person.id}/logout`, { bearer: admin.access })
          : await call(service, `PATCH /users/${person.id}`, {
              bearer: admin.access,
              json: { is_active: false },
            })
      expect(answer.status).toBeLessThan(300)
      expect(await isLive(token)).toBe(false)
      expectOAuthError(await refresh(service, app, refreshToken), 400, 'invalid_grant')
      expect(await grantsOf(person.id)).toBe(1)
    }
  })

  test('a user who is deleted takes all with them', async () => {
    const { person, token } = await allowed()
    expect((await call(service, `DELETE /users/${person.id}`, { bearer: admin.access })).status).toBe(200)
    expect(await isLive(token)).toBe(false)
    expect(await grantsOf(person.id)).toBe(0)
  })
})

test('the commands list what a user allowed, and end it with the keys that the app made', async () => {
  const { person, token } = await allowed()
  const env = { DATABASE_URL: service.databaseUrl, SECRET_KEY: service.config.secretKey?.reveal() ?? '' }
  const run = (...argv: string[]) => runInProcess(['grants', ...argv], { env })
  const listed = await run('list', person.email, '--json')
  const [grant] = JSON.parse(listed.out).items
  expect(grant).toMatchObject({ client: { name: 'Notebook' }, scopes: ['notes.read'], sessions: 1 })
  expect((await run('list', person.id)).out).toContain(grant.id)
  const stranger = await addLoggedIn(service, sql)
  expect(await run('end', stranger.id, grant.id)).toMatchObject({ code: 1 })
  expect(await isLive(token)).toBe(true)
  expect(await run('end', person.email, grant.id, '--created')).toMatchObject({ code: 0 })
  await until(async () => !(await isLive(token)), 'the server hears of it')
  expect((await run('list', person.email)).out).toContain('This user allowed no app.')
})
