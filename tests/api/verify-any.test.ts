import { beforeAll, describe, expect, test } from 'bun:test'
import { OWN_SLUG } from '../../src/core/resources/audience.ts'
import { HOUR_MS } from '../../src/lib/time.ts'
import {
  addApp,
  addResource,
  allowApp,
  exchangeKey,
  type TestApp,
  type TestResource,
} from '../support/app-tokens.ts'
import { call, newKey } from '../support/client.ts'
import { addLoggedIn, addPerson, beginSession } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const person = prepare(() => addLoggedIn(service, sql))
let asker: string
let app: TestApp
let notes: TestResource
let mail: TestResource
beforeAll(async () => {
  asker = (await newKey(service, admin.access, { scopes: ['latchkey:verify'] })).key
  app = await addApp(sql)
  notes = await addResource(sql, ['read', { name: 'admin', description: 'All', grantable_by: 'ceiling' }])
  mail = await addResource(sql)
})

const ask = async (credential: string, more: Record<string, unknown> = {}) => {
  const answer = await call(service, 'POST /verify', { bearer: asker, json: { credential, ...more } })
  expect(answer.status).toBe(200)
  return answer.body
}
const newUser = () => addPerson(sql, { scopes: ['read', 'write'] })

describe('POST /verify tells whose a credential is, and for what', () => {
  test('a key, with the members of /keys/verify, with and without a resource', async () => {
    const { id, key } = await newKey(service, person.access, {
      scopes: 'read',
      credits: { remaining: 5 },
      rate_limit: { limit: 9, window_seconds: 60 },
    })
    const at = await ask(key, { resource: notes.identifier, scopes: 'read', cost: 2 })
    expect(at).toMatchObject({ valid: true, code: 'VALID', kind: 'key', subject: person.id, key_id: id })
    expect(at.credits).toEqual({ remaining: 3 })
    expect(at.rate_limit.remaining).toBe(8)
    expect(at.resource).toBeUndefined()
    const { kind, subject, ...same } = await ask(key, { cost: 0 })
    const verified = await call(service, 'POST /keys/verify', { bearer: asker, json: { key, cost: 0 } })
    expect(kind).toBe('key')
    expect(subject).toBe(person.id)
    expect(Object.keys(same)).toEqual(Object.keys(verified.body))
    expect(await ask(key, { scopes: 'write' })).toEqual({
      valid: false,
      code: 'INSUFFICIENT_SCOPE',
      key_id: id,
      kind: 'key',
      missing_scopes: ['write'],
    })
    expect(await ask(key, { cost: 99 })).toMatchObject({ code: 'CREDITS_EXHAUSTED', limited_by: 'key' })
  })

  test('an app that acts for a person, at its resource alone', async () => {
    const user = await newUser()
    const { access, grantId } = await allowApp(service, sql, app, user.id, { resource: notes })
    const answer = await ask(access, { resource: notes.identifier, scopes: 'read' })
    expect(answer).toEqual({
      valid: true,
      code: 'VALID',
      kind: 'client',
      subject: user.id,
      scopes: ['read'],
      expires_at: expect.any(String),
      client_id: app.clientId,
      grant_id: grantId,
      resource: notes.identifier,
      email_verified: false,
      amr: ['mfa', 'otp', 'pwd'],
      auth_time: expect.any(Number),
    })
    for (const resource of [mail.identifier, `${notes.identifier}/`, 'x', undefined])
      expect(await ask(access, { resource })).toEqual({
        valid: false,
        code: 'WRONG_RESOURCE',
        kind: 'client',
      })
    await sql`UPDATE latchkey.users SET email_verified = true WHERE id = ${user.id}`
    const isKnown = async () => (await ask(access, { resource: notes.identifier })).email_verified
    await until(isKnown, 'the server hears of it')
    expect(await ask(access, { resource: notes.identifier })).toMatchObject({ email: user.email })
  })

  test('a person’s own token, and a first-party app’s, without a resource alone', async () => {
    const own = await addApp(sql, { firstParty: true })
    const user = await newUser()
    const { access } = await allowApp(service, sql, own, user.id, {
      audience: 'users',
      scopes: null,
      identityScopes: ['openid'],
      role: 'user',
    })
    expect(await ask(access)).toMatchObject({
      valid: true,
      kind: 'user',
      client_id: own.clientId,
      role: 'user',
    })
    expect(await ask(person.access)).toMatchObject({ valid: true, kind: 'user', subject: person.id })
    for (const token of [access, person.access])
      expect(await ask(token, { resource: notes.identifier })).toMatchObject({ code: 'WRONG_RESOURCE' })
  })

  test('a token for userinfo is good for no resource, and Latchkey’s own resource has its identifier', async () => {
    const user = await newUser()
    const info = await allowApp(service, sql, app, user.id, {
      audience: 'userinfo',
      scopes: [],
      identityScopes: ['openid'],
    })
    expect(await ask(info.access, { resource: info.audience })).toMatchObject({ code: 'WRONG_RESOURCE' })
    const keeper = await addApp(sql, { scopes: ['latchkey:keys.read'] })
    const own = await allowApp(service, sql, keeper, user.id, {
      audience: 'latchkey',
      scopes: ['latchkey:keys.read'],
    })
    expect(own.audience).toBe(`${service.config.publicUrl}/${OWN_SLUG}`)
    expect(await ask(own.access, { resource: own.audience })).toMatchObject({
      valid: true,
      scopes: ['latchkey:keys.read'],
    })
    expect(await ask(own.access)).toMatchObject({ code: 'WRONG_RESOURCE' })
  })

  test('a token for which a key was exchanged, at its resource alone, with its key’s limits', async () => {
    const { id, key } = await newKey(service, person.access, { scopes: 'read', credits: { remaining: 1 } })
    const token = await exchangeKey(service, sql, id, notes)
    for (const resource of [undefined, mail.identifier])
      expect(await ask(token, { resource })).toEqual({
        valid: false,
        code: 'WRONG_RESOURCE',
        kind: 'key',
        key_id: id,
      })
    const good = await ask(token, { resource: notes.identifier })
    expect(good).toMatchObject({
      valid: true,
      kind: 'key',
      resource: notes.identifier,
      credits: { remaining: 0 },
    })
    expect(await ask(token, { resource: notes.identifier })).toMatchObject({ code: 'CREDITS_EXHAUSTED' })
    const verify = (text: string) =>
      call(service, 'POST /keys/verify', { bearer: asker, json: { key: text, cost: 0 } })
    expect((await verify(token)).body).toEqual({ valid: false, code: 'NOT_FOUND' })
    expect((await verify(key)).body.valid).toBe(true)
  })
})

describe('the codes of tokens come in their order', () => {
  test('NOT_FOUND for what is not ours', async () => {
    const stranger = await allowApp(service, sql, app, (await newUser()).id, { resource: notes })
    const forged = `${stranger.access.slice(0, -4)}AAAA`
    for (const text of [forged, 'sk_nothing', '', stranger.refresh])
      expect(await ask(text, { resource: notes.identifier })).toEqual({ valid: false, code: 'NOT_FOUND' })
  })

  test('OWNER_DISABLED before REVOKED before EXPIRED before WRONG_RESOURCE', async () => {
    const at = await startService({}, service)
    try {
      const user = await newUser()
      const { access, sessionId } = await allowApp(at, sql, app, user.id, { resource: notes })
      const code = async () => {
        const json = { credential: access, resource: mail.identifier }
        return (await call(at, 'POST /verify', { bearer: asker, json })).body.code
      }
      expect(await code()).toBe('WRONG_RESOURCE')
      at.advance(HOUR_MS)
      expect(await code()).toBe('EXPIRED')
      await sql`UPDATE latchkey.sessions SET ended_at = now() WHERE id = ${sessionId}`
      expect(await code()).toBe('REVOKED')
      await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${user.id}`
      expect(await code()).toBe('OWNER_DISABLED')
    } finally {
      await at.stop()
    }
  })

  test.each([
    [
      'the session',
      (ids: Ids) => sql`UPDATE latchkey.sessions SET ended_at = now() WHERE id = ${ids.session}`,
    ],
    ['the grant', (ids: Ids) => sql`DELETE FROM latchkey.oauth_grants WHERE id = ${ids.grant}`],
    [
      'the client',
      (ids: Ids) => sql`UPDATE latchkey.oauth_clients SET is_active = false WHERE id = ${ids.client}`,
    ],
    [
      'the resource',
      (ids: Ids) => sql`UPDATE latchkey.resources SET is_active = false WHERE id = ${ids.resource}`,
    ],
  ])('REVOKED once %s has ended, at once', async (_, end) => {
    const [own, resource, user] = [await addApp(sql), await addResource(sql), await newUser()]
    const made = await allowApp(service, sql, own, user.id, { resource })
    const question = { resource: resource.identifier }
    expect((await ask(made.access, question)).valid).toBe(true)
    await end({ session: made.sessionId, grant: made.grantId, client: own.id, resource: resource.id })
    const deadline = performance.now() + 1000
    let code = 'VALID'
    while (code === 'VALID' && performance.now() < deadline) code = (await ask(made.access, question)).code
    expect(code).toBe('REVOKED')
  })

  test('INSUFFICIENT_SCOPE names what is missing; a scope that takes the person’s ceiling ends with it', async () => {
    const boss = await addPerson(sql, { scopes: ['read', 'admin'] })
    const { access } = await allowApp(service, sql, app, boss.id, {
      resource: notes,
      scopes: ['read', 'admin'],
    })
    const question = { resource: notes.identifier, scopes: 'read admin other' }
    expect(await ask(access, question)).toEqual({
      valid: false,
      code: 'INSUFFICIENT_SCOPE',
      kind: 'client',
      missing_scopes: ['other'],
    })
    await call(service, `PATCH /users/${boss.id}`, { bearer: admin.access, json: { scopes: ['read'] } })
    expect((await ask(access, question)).missing_scopes).toEqual(['admin', 'other'])
  })

  test('MFA_ENROLMENT_REQUIRED where the person has to set up a factor first', async () => {
    const strict = await startService({ requireMfa: 'all' }, service)
    try {
      const user = await newUser()
      const { access } = await allowApp(strict, sql, app, user.id, { resource: notes })
      const json = { credential: access, resource: notes.identifier, scopes: 'other' }
      expect((await call(strict, 'POST /verify', { bearer: asker, json })).body.code).toBe(
        'MFA_ENROLMENT_REQUIRED',
      )
    } finally {
      await strict.stop()
    }
  })
})

type Ids = Record<'session' | 'grant' | 'client' | 'resource', string>

test('asking takes latchkey:verify', async () => {
  const { key } = await newKey(service, person.access, { scopes: 'read' })
  const json = { credential: key }
  expectProblem(await call(service, 'POST /verify', { bearer: key, json }), 'insufficient_scope')
  expectProblem(await call(service, 'POST /verify', { json }), 'missing_credential')
  expect((await call(service, 'POST /verify', { bearer: admin.access, json })).body.valid).toBe(true)
  const { access } = await beginSession(service, await newUser()).then((tokens) => tokens)
  expectProblem(await call(service, 'POST /verify', { bearer: access, json }), 'insufficient_scope')
})
