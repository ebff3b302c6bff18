import { beforeAll, describe, expect, test } from 'bun:test'
import { type Answer, logIn, newKey, newPerson, type Person } from '../support/client.ts'
import { call } from '../support/described.ts'
import { expectProblem } from '../support/problem.ts'
import type { TestService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const generous = useService({ userScopes: 'any' }, service)
const sql = useSql(service)
const user = prepare(() => newPerson(service))
let admin: Person
beforeAll(async () => {
  admin = await newAdmin()
})

async function newAdmin(): Promise<Person> {
  const person = await newPerson(service)
  await sql`UPDATE latchkey.users SET role = 'admin' WHERE id = ${person.id}`
  return { ...person, ...(await logIn(service, person.email, person.password)) }
}

const create = (who: Person, scopes: unknown, on = service) =>
  call(on, 'POST /keys/create', { bearer: who.access, json: { scopes } })
const scopesNow = async (key: string) => (await call(service, 'GET /auth/me', { apiKey: key })).body.scopes
const countKeys = async () => Number((await sql`SELECT count(*) FROM latchkey.api_keys`)[0]?.count)

function expectBeyond(answer: Answer, scope: string): void {
  expectProblem(answer, 'insufficient_scope')
  expect(answer.headers.get('www-authenticate')).toBe(
    `Bearer realm="latchkey", error="insufficient_scope", scope="${scope}"`,
  )
}

describe('scopes are accepted in every spelling and answered as a list', () => {
  test.each([
    ['one word', 'read', ['read']],
    ['commas', 'read,write', ['read', 'write']],
    ['spaces', 'read write', ['read', 'write']],
    ['a list', ['read', 'write'], ['read', 'write']],
    ['commas and spaces', ' read ,\twrite, ', ['read', 'write']],
    ['repetitions', ['write', 'read', 'write'], ['write', 'read']],
    ['null', null, []],
    ['an empty text', '', []],
    ['an empty list', [], []],
    ['nothing but separators', ' , ', []],
    ['absent', undefined, []],
  ])('%s', async (_, spelled, expected) => {
    const answer = await create(user, spelled)
    expect(answer.status).toBe(201)
    expect(answer.body.scopes).toEqual(expected)
    expect(await scopesNow(answer.body.key)).toEqual(expected)
  })

  test('up to fifty scopes, of up to 64 characters', async () => {
    const fifty = Array.from({ length: 50 }, (_, i) => `s${i}`)
    expect((await create(admin, fifty)).body.scopes).toEqual(fifty)
    expect((await create(admin, [...fifty, 's0'].join(' '))).body.scopes).toEqual(fifty)
    expect((await create(admin, `a:b-c_d.e:9${'x'.repeat(53)}`)).status).toBe(201)
  })

  test.each([
    ['fifty-one', Array.from({ length: 51 }, (_, i) => `s${i}`)],
    ['sixty-five characters', 'x'.repeat(65)],
    ['capitals', 'Read'],
    ['a wildcard', '*'],
    ['a wildcard of a family', 'read:*'],
    ['an empty part', 'read:'],
    ['an empty first part', ':read'],
    ['two colons', 'a::b'],
    ['a letter beyond ASCII', 'réad'],
    ['a look-alike', 'reаd'],
    ['NUL', 'read\0'],
    ['a semicolon', 'read;write'],
    ['a dash first', '-read'],
    ['two in one entry of a list', ['read write']],
    ['commas in an entry of a list', ['read,write']],
    ['an empty entry', ['read', '']],
    ['a number', 5],
    ['a number in a list', [5]],
    ['a list in a list', [['read']]],
    ['an object', { read: true }],
    ['true', true],
    ['ten thousand characters', 'read '.repeat(2000)],
    ['ten thousand entries', Array.from({ length: 10_000 }, () => 'r')],
  ])('%s: 422, and no key', async (_, scopes) => {
    const before = await countKeys()
    const answer = await create(admin, scopes)
    expectProblem(answer, 'validation_failed')
    for (const { path } of answer.body.errors) expect(path).toStartWith('/scopes')
    expect(await countKeys()).toBe(before)
  })
})

describe('a user cannot hand out a scope that they lack', () => {
  test.each(['delete', 'reads', 'rea', 'read.all', 'read:all', 'latchkey:verify', 'latchkey:users.write'])(
    'with USER_SCOPES=read,write a user cannot make a key with %p',
    async (scope) => {
      const before = await countKeys()
      expectBeyond(await create(user, ['read', scope]), scope)
      expect(await countKeys()).toBe(before)
      expect((await create(admin, ['read', scope])).status).toBe(201)
    },
  )

  test('every user hands out the two scopes that manage keys', async () => {
    const managing = ['latchkey:keys.read', 'latchkey:keys.write']
    expect((await create(user, managing)).body.scopes).toEqual(managing)
    const person = await newPerson(service)
    await sql`UPDATE latchkey.users SET scopes = '{}' WHERE id = ${person.id}`
    const { access } = await logIn(service, person.email, person.password)
    const answer = await create({ ...person, access }, managing)
    expect(await scopesNow(answer.body.key)).toEqual(managing)
    expectBeyond(await create({ ...person, access }, 'read'), 'read')
  })

  test('USER_SCOPES=any lifts the ceiling, except for the scopes that only admins grant', async () => {
    const anything = ['delete', 'billing:invoices.read', 'read']
    expectBeyond(await create(user, anything), 'delete')
    expect((await create(user, anything, generous)).body.scopes).toEqual(anything)
    expectBeyond(await create(user, ['latchkey:verify'], generous), 'latchkey:verify')
    expectBeyond(await create(user, ['latchkey:made-up'], generous), 'latchkey:made-up')
  })

  test("a user's own ceiling counts instead of USER_SCOPES, below and above it", async () => {
    const person = await newPerson(service)
    await sql`UPDATE latchkey.users SET scopes = '{deploy,latchkey:verify}' WHERE id = ${person.id}`
    const own = { ...person, ...(await logIn(service, person.email, person.password)) }
    expect((await create(own, 'deploy latchkey:verify')).status).toBe(201)
    for (const on of [service, generous]) expectBeyond(await create(own, 'read', on), 'read')
  })
})

describe("a key's scopes at use", () => {
  test('are compared exactly', async () => {
    const near = ['reads', 'rea', 'read.all', 'read:all', 'latchkey:verify']
    const { key } = await newKey(service, admin.access, { scopes: near })
    const refused = await call(service, 'GET /protected/service-only', { apiKey: key })
    expectBeyond(refused, 'read')
    expect(refused.body.detail).toBe('Missing required scope: read')
    const exact = await newKey(service, admin.access, { scopes: 'read' })
    expect((await call(service, 'GET /protected/service-only', { apiKey: exact.key })).status).toBe(200)
  })

  test("of a demoted admin's key shrink to a user's ceiling, from the next use", async () => {
    const former = await newAdmin()
    const { id, key } = await newKey(service, former.access, { scopes: 'read deploy latchkey:verify' })
    expect(await scopesNow(key)).toEqual(['read', 'deploy', 'latchkey:verify'])
    const demotion = { bearer: admin.access, json: { role: 'user' } }
    expect((await call(service, `PATCH /users/${former.id}`, demotion)).status).toBe(200)
    expect(await scopesNow(key)).toEqual(['read'])
    const listed = (await call(service, 'GET /keys/list', { bearer: former.access })).body
    expect(listed.find((item: { id: string }) => item.id === id).scopes).toHaveLength(3)
    const promotion = { bearer: admin.access, json: { role: 'admin' } }
    expect((await call(service, `PATCH /users/${former.id}`, promotion)).status).toBe(200)
    expect(await scopesNow(key)).toEqual(['read', 'deploy', 'latchkey:verify'])
  })

  test('shrink on every instance when an operator lowers the ceiling in the database', async () => {
    const person = await newPerson(service)
    const { key } = await newKey(service, person.access, { scopes: 'read write' })
    const servers = [service, generous]
    const read = (on: TestService) => call(on, 'GET /protected/service-only', { apiKey: key })
    for (const on of servers) expect((await read(on)).status).toBe(200)
    await sql`UPDATE latchkey.users SET scopes = '{write}' WHERE id = ${person.id}`
    for (const on of servers) await until(async () => (await read(on)).status === 403, 'the ceiling holds')
    expect(await scopesNow(key)).toEqual(['write'])
  })
})
