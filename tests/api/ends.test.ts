import { describe, expect, test } from 'bun:test'
import { decodeJwt } from 'jose'
import type { ErrorCode } from '../../src/lib/errors.ts'
import { type Call, call, newKey } from '../support/client.ts'
import { newClient, type OAuthClient, tokenOf } from '../support/oauth.ts'
import { addLoggedIn, connectTo } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const SCOPES = ['read', 'latchkey:keys.read', 'latchkey:keys.write']
const MINUTE_MS = 60_000
const inMinutes = (minutes: number) => new Date(Date.now() + minutes * MINUTE_MS).toISOString()

const service = useService({ accessTokenExpireMinutes: 30 })
const sql = useSql(service)
const owner = prepare(() => addLoggedIn(service, sql))

const create = (caller: Call, json: Record<string, unknown> = {}) =>
  call(service, 'POST /keys', { ...caller, json })
const endOf = async (caller: Call, json: Record<string, unknown> = {}) => {
  const { status, body, text } = await create(caller, json)
  if (status !== 201) throw new Error(`It answered ${status}: ${text}`)
  return body.expires_at === null ? null : Date.parse(body.expires_at)
}
const msOf = (token: string) => (decodeJwt(token).exp ?? 0) * 1000

/** A service account with a key that manages keys, and another key of the account. */
async function newAccount(more: Record<string, unknown> = {}) {
  const client = await newClient(service, owner.access, SCOPES, more)
  const sibling = await newKey(service, owner.access, {
    service_account_id: client.id,
    scopes: 'read',
    expires_in_days: 1,
  })
  return { client, sibling }
}

/** Rotates a key so that its old secret expires in so many minutes. */
async function rotate(keyId: string, minutes: number) {
  const json = { overlap_seconds: minutes * 60 }
  const { status, body } = await call(service, `POST /keys/${keyId}/rotate`, { bearer: owner.access, json })
  expect(status).toBe(201)
  const [old, fresh] = body.secrets
  return { key: body.key as string, oldEnds: Date.parse(old.expires_at), fresh }
}

/** A presented credential, and the earliest expiry of its token, secret and key. */
type Presented = {
  caller: Call
  endsAt: number
  account: Awaited<ReturnType<typeof newAccount>>
  /** The error where the presented key expires before the sibling, and so cannot manage it at all. */
  refusal?: ErrorCode
}
const presented: Record<string, () => Promise<Presented>> = {
  'a service account’s token': async () => {
    const account = await newAccount()
    const token = await tokenOf(service, account.client)
    return { caller: { bearer: token }, endsAt: msOf(token), account }
  },
  'a secret that ends with an overlap': async () => {
    const account = await newAccount()
    const { oldEnds } = await rotate(account.client.keyId, 2)
    return { caller: { apiKey: account.client.secret }, endsAt: oldEnds, account }
  },
  'a token of a secret that ends with an overlap': async () => {
    const account = await newAccount()
    const { oldEnds } = await rotate(account.client.keyId, 3)
    const token = await tokenOf(service, account.client)
    expect(msOf(token)).toBeLessThanOrEqual(oldEnds)
    return { caller: { bearer: token }, endsAt: msOf(token), account }
  },
  'a token of a secret whose overlap began later': async () => {
    const account = await newAccount()
    const token = await tokenOf(service, account.client)
    const { oldEnds } = await rotate(account.client.keyId, 4)
    expect(msOf(token)).toBeGreaterThan(oldEnds)
    return { caller: { bearer: token }, endsAt: oldEnds, account }
  },
  'a key that ends': async () => {
    const account = await newAccount({ expires_at: inMinutes(5) })
    const [{ at } = { at: 0 }] = await sql`SELECT extract(epoch FROM expires_at) * 1000 AS at
      FROM latchkey.api_keys WHERE id = ${account.client.keyId}`
    return { caller: { apiKey: account.client.secret }, endsAt: Number(at), account, refusal: 'not_found' }
  },
  'a user’s key in an overlap': async () => {
    const { id, key } = await newKey(service, owner.access, { scopes: SCOPES })
    const sibling = await newKey(service, owner.access, { scopes: 'read', expires_in_days: 1 })
    const { oldEnds } = await rotate(id, 2)
    const client: OAuthClient = { id: owner.id, keyId: id, secret: key }
    return { caller: { apiKey: key }, endsAt: oldEnds, account: { client, sibling } }
  },
}

test('a token with 60 s left: a user’s makes a key without an end, a service account’s one that ends with it', async () => {
  const brief = await startService({ accessTokenExpireMinutes: 1 }, service)
  try {
    const make = (bearer: string, json: object = {}) => call(brief, 'POST /keys', { bearer, json })
    const person = await addLoggedIn(brief, sql)
    expect(msOf(person.access) - Date.now()).toBeWithin(1, 60_001)
    expect((await make(person.access)).body.expires_at).toBe(null)
    const client = await newClient(brief, owner.access, SCOPES)
    const token = await tokenOf(brief, client)
    expect(msOf(token) - Date.now()).toBeWithin(1, 60_001)
    const made = await make(token)
    expect([made.status, Date.parse(made.body.expires_at)]).toEqual([201, msOf(token)])
    expectProblem(await make(token, { expires_at: inMinutes(10) }), 'forbidden')
    expect((await make(token, { expires_at: new Date(msOf(token)).toISOString() })).status).toBe(201)
    // The key that the token stands for has no end.
    expect((await call(brief, 'POST /keys', { apiKey: client.secret, json: {} })).body.expires_at).toBe(null)
  } finally {
    await brief.stop()
  }
})

describe('a key that is made by', () => {
  test.each(Object.entries(presented))('%s expires no later than that credential', async (_, present) => {
    const { caller, endsAt, account, refusal = 'forbidden' } = await present()
    expect(await endOf(caller)).toBe(endsAt)
    expect(await endOf(caller, { expires_at: inMinutes(1) })).toBeLessThan(endsAt)
    for (const json of [{ expires_at: new Date(endsAt + 1000).toISOString() }, { expires_in_days: 1 }])
      expectProblem(await create(caller, json), 'forbidden')
    // The credential cannot make another key last longer either: not by a rotation and not by a change.
    const path = `/keys/${account.sibling.id}`
    const [row] = await sql`SELECT * FROM latchkey.api_keys WHERE id = ${account.sibling.id}`
    expectProblem(await call(service, `POST ${path}/rotate`, { ...caller, json: {} }), refusal)
    const widening = { expires_at: inMinutes(3000) }
    expectProblem(await call(service, `PATCH ${path}`, { ...caller, json: widening }), refusal)
    expect(
      await sql`SELECT * FROM latchkey.api_keys WHERE id = ${account.sibling.id}`.then(([r]) => r),
    ).toEqual(row)
  })

  test('such a key expires no later than the first credential either', async () => {
    const { client } = await newAccount()
    const token = await tokenOf(service, client)
    const child = await create({ bearer: token }, { scopes: SCOPES })
    expect(Date.parse(child.body.expires_at)).toBe(msOf(token))
    const bearer = await tokenOf(service, { id: client.id, secret: child.body.key })
    for (const caller of [{ apiKey: child.body.key }, { bearer }]) {
      expect(await endOf(caller)).toBeLessThanOrEqual(msOf(token))
      expectProblem(await create(caller, { expires_in_days: 1 }), 'forbidden')
    }
  })

  test('a person, or a key without an expiry, has no expiry', async () => {
    const { client } = await newAccount()
    const { key } = await rotate(client.keyId, 2)
    expect(await endOf({ apiKey: key })).toBeNull()
    expect(await endOf({ bearer: owner.access })).toBeNull()
    expect(await endOf({ bearer: owner.access }, { service_account_id: client.id })).toBeNull()
  })

  test('a key under an earlier default or greatest expiry expires then', async () => {
    const strict = await startService({ apiKeyDefaultExpireDays: 1, apiKeyMaxExpireDays: 2 })
    const at = connectTo(strict)
    const maker = await addLoggedIn(strict, at)
    const { key } = await newKey(strict, maker.access, { scopes: SCOPES, expires_in_days: 2 })
    const made = await call(strict, 'POST /keys', { apiKey: key, json: {} })
    const days = (Date.parse(made.body.expires_at) - Date.now()) / 86_400_000
    expect(days).toBeGreaterThan(0.99)
    expect(days).toBeLessThanOrEqual(1)
    await at.end()
    await strict.stop()
  })
})
