import { expect, test } from 'bun:test'
import { type Answer, call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const other = prepare(() => addLoggedIn(service, sql))

const as = (bearer: string, route: string, json?: unknown): Promise<Answer> =>
  call(service, route, { bearer, json })
const newAccount = async (bearer: string, external_id: string | null) => {
  const { id } = (await as(bearer, 'POST /service-accounts', { name: 'customer', scopes: ['read'] })).body
  return as(bearer, `PATCH /service-accounts/${id}`, { external_id })
}
const keyOf = (service_account_id: string, external_id: string | null = null) =>
  newKey(service, admin.access, { scopes: ['read'], service_account_id, external_id })
const find = (bearer: string, external_id: string) =>
  as(bearer, `GET /service-accounts?${new URLSearchParams({ external_id })}`)
const idsOf = ({ body }: Answer) => (body.items ?? body).map(({ id }: { id: string }) => id)

test('an account is found by its external id alone, by those who manage it', async () => {
  const account = await newAccount(admin.access, 'cust-42')
  expect(account.body.external_id).toBe('cust-42')
  await newAccount(admin.access, 'cust-421')
  expect((await find(admin.access, 'cust-42')).body.items).toEqual([account.body])
  expect((await find(admin.access, 'CUST-42')).body.items).toEqual([])
  expect((await find(other.access, 'cust-42')).body.items).toEqual([])
  expectProblem(await as(admin.access, `GET /service-accounts?external_id=`), 'validation_failed')
})

test('no two accounts have the same external id, in NFC, and a key may share one', async () => {
  const account = await newAccount(admin.access, 'Zo\u0065\u0308')
  expect(account.body.external_id).toBe('Zo\u00eb')
  expect(idsOf(await find(admin.access, 'Zo\u0065\u0308'))).toEqual([account.body.id])
  expectProblem(await newAccount(admin.access, 'Zo\u00eb'), 'conflict')
  expect((await newAccount(admin.access, 'zo\u00eb')).status).toBe(200)
  const key = await keyOf(account.body.id, 'Zo\u0065\u0308')
  expect((await as(admin.access, `GET /keys/${key.id}`)).body.external_id).toBe('Zo\u00eb')
  const cleared = await as(admin.access, `PATCH /service-accounts/${account.body.id}`, { external_id: null })
  expect(cleared.body.external_id).toBe(null)
  expect((await newAccount(admin.access, 'Zo\u00eb')).status).toBe(200)
})

test.each([
  ['an empty one', ''],
  ['one of 256 characters', 'x'.repeat(256)],
  ['one that is longer in NFC', '\u0958'.repeat(200)],
  ['a control character', 'a\u0007b'],
  ['half of a surrogate pair', 'a\ud800'],
])('%s is no external id', async (_, external_id) => {
  expectProblem(await newAccount(admin.access, external_id), 'validation_failed')
  const own = await newKey(service, other.access, {})
  expectProblem(await as(admin.access, `PATCH /keys/${own.id}`, { external_id }), 'validation_failed')
})

test('the external id of a key is its own, else that of its account, wherever it is asked', async () => {
  const account = (await newAccount(admin.access, 'acme corporation')).body
  const [bare, named] = [await keyOf(account.id), await keyOf(account.id, 'acme-two')]
  const verify = async (key: string) =>
    (await as(admin.access, 'POST /keys/verify', { key })).body.external_id
  expect([await verify(bare.key), await verify(named.key)]).toEqual(['acme corporation', 'acme-two'])
  // The key object has the key's own.
  expect((await as(admin.access, `GET /keys/${bare.id}`)).body.external_id).toBe(null)

  const list = async (query: Record<string, string>) =>
    idsOf(await as(admin.access, `GET /keys?${new URLSearchParams({ all: 'true', ...query })}`))
  expect(await list({ external_id: 'acme corporation' })).toEqual([bare.id])
  expect(await list({ external_id: 'acme-two' })).toEqual([named.id])
  expect(await list({ query: 'corporation' })).toEqual([bare.id])
  const its = { service_account_id: account.id }
  expect(await list({ query: 'corporation', ...its })).toEqual([bare.id])

  await sql`INSERT INTO latchkey.key_usage VALUES (${bare.id}, date_trunc('hour', now()), 'EXPIRED', 3),
    (${named.id}, date_trunc('hour', now()), 'EXPIRED', 4)`
  const used = async (external_id: string) =>
    (await as(admin.access, `GET /usage?${new URLSearchParams({ external_id })}`)).body.totals.EXPIRED
  expect([await used('acme corporation'), await used('acme-two')]).toEqual([3, 4])

  // A change holds from the next request.
  await as(admin.access, `PATCH /service-accounts/${account.id}`, { external_id: 'acme moved' })
  expect([await verify(bare.key), await verify(named.key)]).toEqual(['acme moved', 'acme-two'])
  expect(await list({ external_id: 'acme corporation' })).toEqual([])

  const revoked = await as(admin.access, 'POST /keys/revoke', { external_id: 'acme moved' })
  expect(revoked.body).toEqual({ revoked: 1, remaining: 0 })
  expect([await verify(bare.key), await verify(named.key)]).toEqual([undefined, 'acme-two'])
})
