import { beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { createClient } from '../../client/index.ts'
import { metadataUrlOf } from '../../src/lib/resource-metadata.ts'
import {
  type AppSession,
  addApp,
  addResource,
  allowApp,
  exchangeKey,
  type TestApp,
  type TestResource,
} from '../support/app-tokens.ts'
import { call, newKey } from '../support/client.ts'
import { clientOf, startFront, statusOf, verifierKey } from '../support/latchkey-client.ts'
import { addLoggedIn, addPerson } from '../support/people.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService({ isIssuer: true })
const sql = useSql(service)
const person = prepare(() => addPerson(sql, { scopes: ['read'] }))
const stranger = prepare(() => addLoggedIn(service, sql))
let key: string
let app: TestApp
let notes: TestResource
let other: TestResource
let allowed: AppSession
let elsewhere: AppSession
let front: ReturnType<typeof startFront>
beforeAll(async () => {
  key = await verifierKey(service)
  app = await addApp(sql)
  notes = await addResource(sql)
  other = await addResource(sql)
  allowed = await allowApp(service, sql, app, person.id, { resource: notes })
  elsewhere = await allowApp(service, sql, app, person.id, { resource: other })
  front = startFront(service)
})
beforeEach(() => {
  front.questions.length = 0
})

const at = (options: object = {}) =>
  clientOf({ url: front.url, issuer: service.url, key, resource: notes.identifier, ...options })
const codeOf = (verdict: { kind: string; code?: string }) => verdict.code ?? verdict.kind

describe('a client with a resource', () => {
  test('takes an app’s token for that resource, with its person, and shares the answer', async () => {
    const { bearer } = at()
    const principal = {
      kind: 'client',
      userId: person.id,
      clientId: app.clientId,
      grantId: allowed.grantId,
      scopes: ['read'],
      email: null,
      amr: ['mfa', 'otp', 'pwd'],
      authTime: expect.any(Date),
      expiresAt: expect.any(Date),
    }
    expect<unknown>(await bearer(allowed.access, { kind: 'client', scopes: ['read'] })).toEqual(principal)
    expect<unknown>(await bearer(allowed.access, { mfa: true })).toEqual(principal)
    expect(front.questions).toEqual(['/verify'])
  })

  test('refuses tokens that were made for anything else, and takes keys', async () => {
    const { bearer } = at()
    for (const token of [elsewhere.access, stranger.access])
      expect(codeOf(await bearer(token))).toBe('invalid_token')
    const { id, key: own } = await newKey(service, stranger.access, { scopes: 'read' })
    expect(await bearer(own, { scopes: ['read'] })).toMatchObject({ kind: 'key', keyId: id })
    const token = await exchangeKey(service, sql, id, notes)
    expect(await bearer(token, { kind: 'key' })).toMatchObject({ kind: 'key', keyId: id })
    expect(codeOf(await at({ resource: other.identifier }).bearer(token))).toBe('invalid_token')
  })

  test('charges no key on a route for apps, nor on one for people', async () => {
    const { bearer } = at()
    const { id, key: own } = await newKey(service, stranger.access, {
      scopes: 'read',
      credits: { remaining: 3 },
    })
    const token = await exchangeKey(service, sql, id, notes)
    for (const text of [own, token])
      for (const need of [{ kind: 'client' }, { kind: 'user' }, { role: 'admin' }] as const)
        expect(codeOf(await bearer(text, need))).toBe('wrong_credential_kind')
    expect(codeOf(await bearer(token, { mfa: true }))).toBe('forbidden')
    expect(front.questions).toEqual([])
    expect(codeOf(await bearer(allowed.access, { kind: 'key' }))).toBe('wrong_credential_kind')
    await bearer(own)
    const { body } = await call(service, `GET /keys/${id}`, { bearer: stranger.access })
    expect(body.credits.remaining).toBe(2)
  })

  test('says in its refusals where tokens come from, and all scopes that are needed', async () => {
    const { ask } = at()
    const challenge = async (headers: Record<string, string>, question: object = {}) => {
      const verdict = await ask(headers, question)
      return verdict.kind === 'refused' ? verdict.headers['www-authenticate'] : null
    }
    const where = `resource_metadata="${metadataUrlOf(notes.identifier)}"`
    const scopes = ['read', 'write']
    expect(await challenge({})).toBe(`Bearer realm="latchkey", ${where}`)
    expect(await challenge({ authorization: 'Bearer sk_none' }, { scopes })).toBe(
      `Bearer realm="latchkey", error="invalid_token", ${where}, scope="read write"`,
    )
    const authorization = `Bearer ${allowed.access}`
    expect(await challenge({ authorization }, { scopes })).toBe(
      `Bearer realm="latchkey", error="insufficient_scope", ${where}, scope="read write"`,
    )
    expect(await challenge({ authorization, 'x-api-key': 'a' })).toBeUndefined()
  })

  test('gives the metadata that Latchkey publishes', async () => {
    const published = await call(service, `GET /.well-known/oauth-protected-resource/${notes.slug}`)
    expect<unknown>(await at().client.metadata()).toEqual(published.body)
    expect(at({ resource: 'https://none.example.com' }).client.metadata()).rejects.toThrow('404')
    expect(clientOf({ url: service.url }).client.metadata()).rejects.toThrow(TypeError)
  })

  test('refuses an ended grant at the next question', async () => {
    const mine = await allowApp(service, sql, await addApp(sql), person.id, { resource: notes })
    const { bearer } = at({ cacheSeconds: 0 })
    expect(statusOf(await bearer(mine.access))).toBe(200)
    await call(service, 'POST /oauth/revoke', { form: { token: mine.access } })
    expect(codeOf(await bearer(mine.access))).toBe('invalid_token')
  })

  test('takes no options that cannot work', () => {
    const make = (options: object) => () => createClient({ url: service.url, ...options })
    expect(make({ resource: notes.identifier })).toThrow(TypeError)
    expect(make({ resource: notes.slug, key })).toThrow(TypeError)
    expect(make({ resource: notes.identifier, key })).not.toThrow()
  })
})

describe('a client without a resource verifies by the published keys, and checks the audience', () => {
  test('an app’s token for any resource is refused, also one of Latchkey’s own', async () => {
    const { bearer, errors } = clientOf({ url: service.url, key })
    const keeper = await addApp(sql, { scopes: ['latchkey:keys.read'] })
    const own = await allowApp(service, sql, keeper, person.id, {
      audience: 'latchkey',
      scopes: ['latchkey:keys.read'],
    })
    for (const { access } of [allowed, own]) expect(codeOf(await bearer(access))).toBe('invalid_token')
    expect(String(errors[0])).toContain(`audience is ${notes.identifier}`)
  })

  test('a first-party app’s token is its person’s', async () => {
    const first = await addApp(sql, { firstParty: true })
    const made = await allowApp(service, sql, first, person.id, {
      audience: 'users',
      scopes: null,
      role: 'user',
    })
    for (const online of [false, true])
      expect(
        await clientOf({ url: service.url, key, online }).bearer(made.access, { kind: 'user' }),
      ).toMatchObject({
        kind: 'user',
        userId: person.id,
      })
  })
})
