import { describe, expect, test } from 'bun:test'
import { MINUTE_MS } from '../../src/lib/time.ts'
import { newKey } from '../support/client.ts'
import { call } from '../support/described.ts'
import { newClient } from '../support/oauth.ts'
import { addLoggedIn, beginSession, connectTo } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { enrolTotp } from '../support/second-factors.ts'
import { startService } from '../support/service.ts'
import { kidOf, publishedKids } from '../support/signing.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const support = prepare(() => addLoggedIn(service, sql, { scopes: ['latchkey:support'] }))

const asAdmin = (route: string) => call(service, route, { bearer: admin.access })
const isGood = async (bearer: string) => (await call(service, 'GET /auth/me', { bearer })).status === 200

describe('the audit trail', () => {
  test('is narrowed by outcome and by request id', async () => {
    const person = await addLoggedIn(service, sql)
    const requestId = 'a-request-of-its-own'
    const headers = { 'x-request-id': requestId }
    const denied = await call(service, 'GET /users', { bearer: person.access, headers })
    const made = await call(service, 'POST /keys', { bearer: person.access, json: {} })
    const list = async (query: string) =>
      (await asAdmin(`GET /audit?actor=${person.id}${query}`)).body.items.map(
        ({ action, outcome }: { action: string; outcome: string }) => `${action} ${outcome}`,
      )
    expect(await list('&outcome=refused')).toEqual(['access.denied refused'])
    expect(await list('&outcome=success')).toContain('key.created success')
    expect(await list('&outcome=success')).not.toContain('access.denied refused')
    const idOf = (answer: { headers: Headers }) => answer.headers.get('x-request-id')
    expect(await list(`&request_id=${idOf(denied)}`)).toEqual(['access.denied refused'])
    expect(await list(`&request_id=${idOf(made)}`)).toEqual(['key.created success'])
    expect(await list('&request_id=none')).toEqual([])
    expectProblem(await asAdmin('GET /audit?outcome=maybe'), 'validation_failed')
  })
})

describe("a user's sessions", () => {
  test('are listed to admins and support as to the user, and end one by one', async () => {
    const person = await addLoggedIn(service, sql)
    const second = await beginSession(service, person)
    const own = (await call(service, 'GET /auth/sessions', { bearer: person.access })).body.items
    for (const bearer of [admin.access, support.access]) {
      const { body } = await call(service, `GET /users/${person.id}/sessions`, { bearer })
      expect(body.items).toEqual(own.map((session: object) => ({ ...session, current: false })))
    }
    const newest = own[0].id
    for (let again = 0; again < 2; again++) {
      const ended = await call(service, `DELETE /users/${person.id}/sessions/${newest}`, {
        bearer: support.access,
      })
      expect(ended.status).toBe(204)
    }
    expect([await isGood(second.access), await isGood(person.access)]).toEqual([false, true])
    const rows = await sql`SELECT actor_id, details FROM latchkey.audit_events
      WHERE action = 'session.ended' AND target_id = ${newest}`
    expect(rows.map((row) => [row.actor_id, row.details])).toEqual([
      [support.id, { reason: 'admin_logout', user_id: person.id }],
    ])
  })

  test("one of another's is not there; support ends none of an admin's", async () => {
    const [person, other] = [await addLoggedIn(service, sql), await addLoggedIn(service, sql)]
    const idOf = async (who: { access: string }) =>
      (await call(service, 'GET /auth/sessions', { bearer: who.access })).body.items[0].id as string
    const end = async (user: string, session: string, bearer: string) =>
      call(service, `DELETE /users/${user}/sessions/${session}`, { bearer })
    expectProblem(await end(person.id, await idOf(other), admin.access), 'not_found')
    expectProblem(await end(person.id, Bun.randomUUIDv7(), admin.access), 'not_found')
    expectProblem(await end('none', 'none', admin.access), 'not_found')
    expectProblem(await asAdmin(`GET /users/${Bun.randomUUIDv7()}/sessions`), 'not_found')
    expect(await isGood(other.access)).toBe(true)
    const ofAdmin = await idOf(admin)
    expectProblem(await end(admin.id, ofAdmin, support.access), 'forbidden')
    expect(await isGood(admin.access)).toBe(true)
    expect((await end(other.id, await idOf(other), admin.access)).status).toBe(204)
    expect(await isGood(other.access)).toBe(false)
  })

  test('are not for anybody else', async () => {
    const person = await addLoggedIn(service, sql)
    const reader = await newKey(service, admin.access, { scopes: 'latchkey:users.read' })
    for (const bearer of [person.access, reader.key])
      expectProblem(await call(service, `GET /users/${admin.id}/sessions`, { bearer }), 'insufficient_scope')
  })
})

describe('signing keys', () => {
  test('are listed with what they do, rotated and revoked by an admin', async () => {
    await using at = await ownService()
    const list = async () => (await at.asAdmin('GET /signing-keys')).body
    const [first] = (await list()).items
    expect(await list()).toEqual({
      items: [
        {
          kid: kidOf(at.admin.access),
          algorithm: 'ES256',
          state: 'signing',
          created_at: first.signs_from,
          signs_from: expect.any(String),
          revoked_at: null,
        },
      ],
      next_cursor: null,
    })
    const rotated = await at.asAdmin('POST /signing-keys/rotate')
    expect([rotated.status, rotated.body.state]).toEqual([201, 'upcoming'])
    expect((await list()).items).toEqual([rotated.body, first])
    expectProblem(await at.asAdmin('POST /signing-keys/rotate'), 'conflict')
    at.service.advance(6 * MINUTE_MS)
    const states = async () => (await list()).items.map(({ state }: { state: string }) => state)
    expect(await states()).toEqual(['signing', 'published'])

    const { access } = await beginSession(at.service, at.admin)
    expect(kidOf(access)).toBe(rotated.body.kid)
    const revoked = await at.asAdmin(`POST /signing-keys/${first.kid}/revoke`)
    expect(revoked.status).toBe(204)
    // The key that signed the caller's own token: it is refused from the next request on.
    expectProblem(await at.asAdmin('GET /signing-keys'), 'invalid_token')
    at.admin.access = access
    expect(
      (await list()).items.map(({ kid, state }: { kid: string; state: string }) => [kid, state]),
    ).toEqual([
      [rotated.body.kid, 'signing'],
      [first.kid, 'revoked'],
    ])
    expect(await publishedKids(at.service)).toEqual([rotated.body.kid])
    expectProblem(await at.asAdmin(`POST /signing-keys/${first.kid}/revoke`), 'not_found')
    expectProblem(await at.asAdmin('POST /signing-keys/none/revoke'), 'not_found')
    const audit = (await at.asAdmin('GET /audit?action=signing_key.revoked')).body.items
    expect(audit.map(({ actor, target }: { actor: object; target: object }) => [actor, target])).toEqual([
      [
        { type: 'user', id: at.admin.id },
        { type: 'signing_key', id: first.kid },
      ],
    ])
  })

  test('are none with HS256', async () => {
    await using at = await ownService({ algorithm: 'HS256' })
    expect((await at.asAdmin('GET /signing-keys')).body).toEqual({ items: [], next_cursor: null })
    expectProblem(await at.asAdmin('POST /signing-keys/rotate'), 'conflict')
    expectProblem(await at.asAdmin('POST /signing-keys/any/revoke'), 'conflict')
  })

  test('are for admins alone', async () => {
    for (const route of ['GET /signing-keys', 'POST /signing-keys/rotate', 'POST /signing-keys/x/revoke'])
      expectProblem(await call(service, route, { bearer: support.access }), 'forbidden')
  })

  async function ownService(options: Parameters<typeof startService>[0] = {}) {
    const own = await startService(options)
    const ownSql = connectTo(own)
    const owner = await addLoggedIn(own, ownSql, { role: 'admin' })
    return {
      service: own,
      admin: owner,
      asAdmin: (route: string) => call(own, route, { bearer: owner.access }),
      async [Symbol.asyncDispose]() {
        await ownSql.end()
        await own.stop()
      },
    }
  }
})

test('one user is shown with the last log-in and what is live', async () => {
  const person = await addLoggedIn(service, sql)
  const describeUser = async () => (await asAdmin(`GET /users/${person.id}`)).body
  const before = await describeUser()
  expect(before.counts).toEqual({ keys: 0, service_accounts: 0, sessions: 1 })
  expect(Math.abs(Date.parse(before.last_login_at) - Date.now())).toBeLessThan(60_000)
  const keys = [await newKey(service, person.access), await newKey(service, person.access)]
  await newKey(service, person.access)
  await newClient(service, person.access)
  const second = await beginSession(service, person)
  expect((await describeUser()).counts).toEqual({ keys: 3, service_accounts: 1, sessions: 2 })
  await call(service, `DELETE /keys/${keys[0]?.id}`, { bearer: person.access })
  await sql`UPDATE latchkey.api_keys SET expires_at = now() WHERE id = ${keys[1]?.id ?? ''}`
  await call(service, 'POST /auth/logout', { bearer: second.access, json: {} })
  const after = await describeUser()
  expect(after.counts).toEqual({ keys: 1, service_accounts: 1, sessions: 1 })
  expect(after.last_login_at >= before.last_login_at).toBe(true)
})

test('one user is shown with their second factors in numbers, and with no secret of them', async () => {
  const person = await addLoggedIn(service, sql)
  const factorsOf = async () => (await asAdmin(`GET /users/${person.id}`)).body.mfa
  expect(await factorsOf()).toEqual({ totp: false, passkeys: 0, recovery_codes_left: 0 })
  await enrolTotp(service, person.access)
  expect(await factorsOf()).toEqual({ totp: true, passkeys: 0, recovery_codes_left: 10 })
})
