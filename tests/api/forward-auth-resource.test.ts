import { beforeAll, describe, expect, test } from 'bun:test'
import {
  type AppSession,
  addApp,
  addResource,
  allowApp,
  exchangeKey,
  type TestApp,
  type TestResource,
} from '../support/app-tokens.ts'
import { type Call, call, newKey } from '../support/client.ts'
import { addLoggedIn, addPerson } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const person = prepare(() => addPerson(sql, { scopes: ['read', 'write'] }))
const bystander = prepare(() => addLoggedIn(service, sql))
let app: TestApp
let notes: TestResource
let mail: TestResource
let at: Record<'notes' | 'mail' | 'users' | 'userinfo' | 'own', AppSession>
let key: { id: string; key: string }
let exchanged: string
beforeAll(async () => {
  const firstParty = await addApp(sql, { firstParty: true })
  const keeper = await addApp(sql, { scopes: ['latchkey:keys.read'] })
  app = await addApp(sql)
  notes = await addResource(sql)
  mail = await addResource(sql)
  const allow = (which: TestApp, more: Parameters<typeof allowApp>[4]) =>
    allowApp(service, sql, which, person.id, more)
  at = {
    notes: await allow(app, { resource: notes, scopes: ['read'] }),
    mail: await allow(app, { resource: mail, scopes: ['read'] }),
    users: await allow(firstParty, { audience: 'users', scopes: null, role: 'user' }),
    userinfo: await allow(app, { audience: 'userinfo', scopes: [], identityScopes: ['openid'] }),
    own: await allow(keeper, { audience: 'latchkey', scopes: ['latchkey:keys.read'] }),
  }
  key = await newKey(service, bystander.access, { scopes: 'read' })
  exchanged = await exchangeKey(service, sql, key.id, notes)
})

const ask = (policy: string, credential: Call = {}) =>
  call(service, `GET /forward-auth?${policy}`, credential)
const bearer = (token: string) => ({ bearer: token })

describe('a policy with a resource', () => {
  test('takes the token of an app for that resource, and says whose it is', async () => {
    const answer = await ask(`resource=${notes.slug}&scope=read`, bearer(at.notes.access))
    expect(answer.status).toBe(200)
    const headers = ['type', 'client-id', 'subject', 'user-id', 'role', 'key-id', 'scopes', 'amr']
    expect(headers.map((name) => answer.headers.get(`x-auth-${name}`))).toEqual([
      'client',
      app.clientId,
      person.id,
      person.id,
      '',
      '',
      'read',
      'mfa otp pwd',
    ])
    for (const path of [`resource=${notes.slug}`, `kind=client&resource=${notes.slug}`])
      expect((await call(service, `PUT /forward-auth/${path}/a`, bearer(at.notes.access))).status).toBe(200)
  })

  test('refuses every other token with 401, and takes keys as ever', async () => {
    const policy = `resource=${notes.slug}`
    const others = [at.mail, at.users, at.userinfo, at.own].map(({ access }) => access)
    for (const token of [...others, bystander.access, admin.access])
      expectProblem(await ask(policy, bearer(token)), 'invalid_token')
    const byKey = await ask(`${policy}&kind=key&scope=read`, { apiKey: key.key })
    expect([byKey.status, byKey.headers.get('x-auth-client-id')]).toEqual([200, ''])
  })

  test('takes the token for which a key was exchanged at its resource alone', async () => {
    expect((await ask(`resource=${notes.slug}`, bearer(exchanged))).headers.get('x-auth-type')).toBe('key')
    for (const policy of [`resource=${mail.slug}`, 'kind=any'])
      expectProblem(await ask(policy, bearer(exchanged)), 'invalid_token')
  })

  test('asks by kind, role, second factor and scope', async () => {
    const own = bearer(at.notes.access)
    const by = (more: string) => ask(`resource=${notes.slug}&${more}`, own)
    for (const more of ['kind=user', 'kind=key', 'role=admin'])
      expectProblem(await by(more), 'wrong_credential_kind')
    expectProblem(await by('scope=write'), 'insufficient_scope')
    expect((await by('mfa=true')).status).toBe(200)
    const plain = await allowApp(service, sql, await addApp(sql), person.id, {
      resource: notes,
      amr: ['pwd'],
    })
    expectProblem(await ask(`resource=${notes.slug}&mfa=true`, bearer(plain.access)), 'forbidden')
    expect((await ask(`resource=${notes.slug}&kind=any`, bearer(plain.access))).status).toBe(200)
  })

  test('of an unknown or deleted resource is 400 for everybody', async () => {
    const gone = await addResource(sql)
    expect((await ask(`resource=${gone.slug}`, { apiKey: key.key })).status).toBe(200)
    await sql`DELETE FROM latchkey.resources WHERE id = ${gone.id}`
    await until(
      async () => (await ask(`resource=${gone.slug}`, { apiKey: key.key })).status === 400,
      'the policy is no longer valid',
    )
    for (const policy of ['resource=nothing-here', 'resource=', 'resource=Notes', 'resource=a%2Fb'])
      expectProblem(await ask(policy, { apiKey: key.key }), 'invalid_request')
  })

  test('of a disabled resource is 401 for its tokens, and keys pass', async () => {
    const paused = await addResource(sql)
    const { access } = await allowApp(service, sql, await addApp(sql), person.id, { resource: paused })
    const policy = `resource=${paused.slug}`
    expect((await ask(policy, bearer(access))).status).toBe(200)
    await sql`UPDATE latchkey.resources SET is_active = false WHERE id = ${paused.id}`
    await until(async () => (await ask(policy, bearer(access))).status === 401, 'the token is refused')
    expect((await ask(policy, { apiKey: key.key })).status).toBe(200)
  })

  test('has challenges that say where tokens come from, and all scopes that are needed', async () => {
    const url = `https://${notes.slug}.example.com/.well-known/oauth-protected-resource/mcp`
    const policy = `resource=${notes.slug}&scope=read,write`
    const challenge = async (more: string, credential?: Call) =>
      (await ask(more, credential)).headers.get('www-authenticate')
    expect(await challenge(policy)).toBe(
      `Bearer realm="latchkey", resource_metadata="${url}", scope="read write"`,
    )
    expect(await challenge(policy, bearer(at.mail.access))).toBe(
      `Bearer realm="latchkey", error="invalid_token", resource_metadata="${url}", scope="read write"`,
    )
    expect(await challenge(policy, bearer(at.notes.access))).toBe(
      `Bearer realm="latchkey", error="insufficient_scope", resource_metadata="${url}", scope="read write"`,
    )
    expect(await challenge(`resource=${notes.slug}&role=admin`, bearer(at.notes.access))).toBe(
      `Bearer realm="latchkey", resource_metadata="${url}"`,
    )
    expect(await challenge('scope=read')).toBe('Bearer realm="latchkey"')
  })
})

test('without a resource every token that was made for one is 401, and a first-party app’s is a user’s', async () => {
  for (const { access } of [at.notes, at.userinfo, at.own])
    for (const policy of ['kind=any', 'kind=client', 'scope=read'])
      expectProblem(await ask(policy, bearer(access)), 'invalid_token')
  const user = await ask('kind=user', bearer(at.users.access))
  expect([user.status, user.headers.get('x-auth-type'), user.headers.get('x-auth-client-id')]).toEqual([
    200,
    'user',
    '',
  ])
})

test('an app of a person who has to set up a second factor first is refused', async () => {
  const strict = await startService({ requireMfa: 'all' }, service)
  try {
    const answer = await call(strict, `GET /forward-auth?resource=${notes.slug}`, bearer(at.notes.access))
    expectProblem(answer, 'mfa_enrolment_required')
  } finally {
    await strict.stop()
  }
})
