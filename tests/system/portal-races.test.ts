import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import type postgres from 'postgres'
import { PORTAL } from '../../src/lib/scopes.ts'
import { call, newKey } from '../support/client.ts'
import { type AddedPerson, addLoggedIn, connectTo, type Tokens } from '../support/people.ts'
import { makePortal, openPortal } from '../support/portal.ts'
import { startService, type TestService } from '../support/service.ts'

setDefaultTimeout(240_000)

const ROUNDS = 12

let a: TestService
let b: TestService
let sql: postgres.Sql
let maker: AddedPerson & Tokens
let account: string
beforeAll(async () => {
  a = await startService({ logLevel: 'error' })
  b = await startService({ logLevel: 'error' }, a)
  sql = connectTo(a)
  maker = await addLoggedIn(a, sql, { scopes: ['read', PORTAL] })
  const json = { name: 'customer', scopes: ['read'] }
  account = (await call(a, 'POST /service-accounts', { bearer: maker.access, json })).body.id
})
afterAll(async () => {
  await sql.end()
  await b.stop()
  await a.stop()
})

const newMaker = () => newKey(a, maker.access, { scopes: ['read', PORTAL] })
const session = () => ({ service_account_id: account, scopes: ['read'], may: ['create'] })
const keysOf = async () =>
  (await sql`SELECT 1 FROM latchkey.api_keys WHERE service_account_id = ${account}`).length

test('of two instances that exchange a link at once, one gives the bearer', async () => {
  const { key } = await newMaker()
  for (let round = 0; round < ROUNDS; round++) {
    const { token } = await makePortal(a, { apiKey: key }, session())
    const answers = await Promise.all(
      [a, b, a, b].map((at) => call(at, 'POST /portal/exchange', { json: { token } })),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401, 401, 401])
  }
})

test('once the end of its maker is answered, no bearer makes a key, at either instance', async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const { id, key } = await newMaker()
    const portal = await openPortal(a, { apiKey: key }, session())
    for (const at of [a, b]) {
      expect((await call(at, 'GET /keys', { bearer: portal.bearer })).status).toBe(200)
    }
    const before = await keysOf()
    const make = (at: TestService) =>
      call(at, 'POST /keys', { bearer: portal.bearer, json: { scopes: ['read'] } })
    const racing = [make(a), make(b)]
    const ended = await call(round % 2 === 0 ? a : b, `DELETE /keys/${id}`, { bearer: maker.access })
    expect(ended.status).toBe(200)
    const late = await Promise.all([make(a), make(b)])
    const won = (await Promise.all(racing)).map(({ status }) => status)
    expect(late.map(({ status }) => status)).toEqual([401, 401])
    expect(won.filter((status) => ![201, 401].includes(status))).toEqual([])
    expect((await keysOf()) - before).toBe(won.filter((status) => status === 201).length)
  }
})

test('a link that is exchanged while its maker ends gives no bearer that works', async () => {
  for (let round = 0; round < ROUNDS; round++) {
    const { id, key } = await newMaker()
    const { token } = await makePortal(a, { apiKey: key }, session())
    const [exchanged] = await Promise.all([
      call(a, 'POST /portal/exchange', { json: { token } }),
      call(b, `DELETE /keys/${id}`, { bearer: maker.access }),
    ])
    expect([200, 401]).toContain(exchanged.status)
    const bearer = exchanged.body.access_token
    if (bearer === undefined) continue
    const made = await call(b, 'POST /keys', { bearer, json: {} })
    expect(made.status).toBe(401)
  }
})

test('once the owner of its maker is no manager, no link opens and no bearer makes a key, at either instance', async () => {
  const admin = await addLoggedIn(a, sql, { role: 'admin' })
  const { key } = await newMaker()
  for (let round = 0; round < ROUNDS; round++) {
    const json = { name: 'shared', scopes: ['read'] }
    const { id } = (await call(a, 'POST /service-accounts', { bearer: maker.access, json })).body
    const managers = `/service-accounts/${id}/managers`
    await call(a, `PUT ${managers}`, { bearer: maker.access, json: { user_id: admin.id } })
    const ofShared = { service_account_id: id, scopes: ['read'], may: ['create'] }
    const portal = await openPortal(a, { apiKey: key }, ofShared)
    const { token } = await makePortal(b, { apiKey: key }, ofShared)
    const make = (at: TestService, bearer = portal.bearer) =>
      call(at, 'POST /keys', { bearer, json: { scopes: ['read'] } })
    expect((await make(b)).status).toBe(201)
    const exchange = (at: TestService) => call(at, 'POST /portal/exchange', { json: { token } })
    const session = (at: TestService) => call(at, 'POST /portal/sessions', { apiKey: key, json: ofShared })
    const racing = [make(a), make(b), exchange(a), session(b)]
    const ended = await call(round % 2 === 0 ? a : b, `DELETE ${managers}/${maker.id}`, {
      bearer: admin.access,
    })
    expect(ended.status).toBe(204)
    expect((await Promise.all([make(a), make(b)])).map(({ status }) => status)).toEqual([401, 401])
    expect((await exchange(b)).status).toBe(401)
    expect((await session(a)).status).toBe(404)
    const won = await Promise.all(racing)
    expect(won.filter(({ status }) => ![200, 201, 401, 404].includes(status))).toEqual([])
    const [, , exchanged, opened] = won
    const late = exchanged?.body?.access_token
    if (late) expect((await make(a, late)).status).toBe(401)
    const url: string | undefined = opened?.body?.url
    if (url) {
      const link = url.slice(url.indexOf('#') + 1)
      expect((await call(b, 'POST /portal/exchange', { json: { token: link } })).status).toBe(401)
    }
    await call(a, `DELETE /service-accounts/${id}`, { bearer: admin.access })
  }
})
