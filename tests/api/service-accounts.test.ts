import { describe, expect, test } from 'bun:test'
import type { ErrorCode } from '../../src/lib/errors.ts'
import { type Answer, call, newKey } from '../support/client.ts'
import { type AddedPerson, addLoggedIn, addPerson, beginSession, type Tokens } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const READ = 'latchkey:service-accounts.read'
const WRITE = 'latchkey:service-accounts.write'
const USERS_READ = 'latchkey:users.read'
const KEYS_WRITE = 'latchkey:keys.write'

type Person = AddedPerson & Tokens

const service = useService({ serviceAccountsPerUser: 100 })
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const maker = prepare(() => addLoggedIn(service, sql, { scopes: ['read', 'write', 'deploy'] }))
const stranger = prepare(() => addLoggedIn(service, sql))

type ListedAccount = { id: string; name: string; scopes: string[]; is_active: boolean }
const as = (who: string, route: string, json?: unknown): Promise<Answer> =>
  call(service, route, { bearer: who, json })
const create = (who: string, json: Record<string, unknown> = {}) =>
  as(who, 'POST /service-accounts', { name: 'builder', ...json })
const newAccount = async (
  who: { access: string },
  json: Record<string, unknown> = {},
): Promise<ListedAccount> => {
  const answer = await create(who.access, json)
  if (answer.status !== 201) throw new Error(`Making one answered ${answer.status}: ${answer.text}`)
  return answer.body
}
const get = (who: string, id: string) => as(who, `GET /service-accounts/${id}`)
const patch = (who: string, id: string, json: unknown) => as(who, `PATCH /service-accounts/${id}`, json)
const remove = (who: string, id: string) => as(who, `DELETE /service-accounts/${id}`)
const keyOf = (who: { access: string }, service_account_id: string, json: Record<string, unknown> = {}) =>
  newKey(service, who.access, { scopes: ['read'], service_account_id, ...json })
const isGood = async (bearer: string) => (await as(bearer, 'GET /auth/me')).status === 200
const scopesOf = async (bearer: string) => (await as(bearer, 'GET /auth/me')).body.scopes
const tokenOf = (id: string, secret: string, scope?: string) => {
  const form = { grant_type: 'client_credentials', client_id: id, client_secret: secret }
  return call(service, 'POST /oauth/token', { form: scope === undefined ? form : { ...form, scope } })
}

describe('making a service account', () => {
  test('answers every member', async () => {
    const answer = await create(maker.access, { description: 'Builds\nthings', scopes: 'deploy read' })
    expect(answer.status).toBe(201)
    expect(answer.body).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      name: 'builder',
      description: 'Builds\nthings',
      scopes: ['deploy', 'read'],
      is_active: true,
      external_id: null,
      rate_limit: null,
      credits: null,
      managers: [{ type: 'user', id: maker.id }],
      created_by: maker.id,
      created_at: expect.stringMatching(/Z$/),
    })
    expect((await get(maker.access, answer.body.id)).body).toEqual(answer.body)
  })

  test('gives the account its maker’s ceiling by default', async () => {
    expect((await newAccount(maker)).scopes).toEqual(['read', 'write', 'deploy'])
    expect((await newAccount(stranger)).scopes).toEqual(['read', 'write'])
    expect((await newAccount(admin)).scopes).toEqual(['read', 'write'])
    expect((await newAccount(maker, { scopes: [] })).scopes).toEqual([])
    expect((await newAccount(maker, { scopes: '' })).scopes).toEqual([])
    expect((await newAccount(maker, { scopes: null })).scopes).toEqual(['read', 'write', 'deploy'])
    expect((await newAccount(maker, { scopes: 'read,read read' })).scopes).toEqual(['read'])
    expect((await newAccount(maker, { scopes: ['latchkey:keys.write'] })).scopes).toEqual([
      'latchkey:keys.write',
    ])
    const all = ['anything', 'latchkey:verify', 'latchkey:introspect', 'latchkey:users.write']
    expect((await newAccount(admin, { scopes: all })).scopes).toEqual(all)
  })

  test.each<[string, Record<string, unknown>, ErrorCode]>([
    ['a scope that its maker does not hold', { scopes: ['read', 'admin'] }, 'insufficient_scope'],
    ['a reserved scope', { scopes: 'latchkey:verify' }, 'insufficient_scope'],
    ['the scope that makes service accounts', { scopes: WRITE }, 'insufficient_scope'],
    ['a malformed scope', { scopes: 'READ' }, 'validation_failed'],
    ['51 scopes', { scopes: Array.from({ length: 51 }, (_, i) => `s${i}`) }, 'validation_failed'],
    ['no name', { name: null }, 'validation_failed'],
    ['an empty name', { name: '' }, 'validation_failed'],
    ['101 characters of name', { name: 'n'.repeat(101) }, 'validation_failed'],
    ['a line break in the name', { name: 'two\nlines' }, 'validation_failed'],
    ['NUL in the name', { name: 'a\0b' }, 'validation_failed'],
    ['501 characters of description', { description: 'd'.repeat(501) }, 'validation_failed'],
    ['NUL in the description', { description: 'a\0b' }, 'validation_failed'],
    ['another’s id as its maker', { created_by: Bun.randomUUIDv7() }, 'validation_failed'],
    ['a state', { is_active: false }, 'validation_failed'],
  ])('is refused with %s', async (_, json, code) => {
    const [before] = await sql`SELECT count(*) FROM latchkey.service_accounts`
    expectProblem(await create(maker.access, json), code)
    expect((await sql`SELECT count(*) FROM latchkey.service_accounts`)[0]).toEqual(before ?? {})
  })

  test('accepts names and descriptions up to their limits', async () => {
    const made = await newAccount(maker, { name: 'n'.repeat(100), description: '🔑'.repeat(250) })
    expect(made.name).toHaveLength(100)
  })
})

describe('the list of service accounts', () => {
  test('has the caller’s own accounts, newest first, in pages; admins get all', async () => {
    const person = await addLoggedIn(service, sql)
    const ids: string[] = []
    for (let i = 0; i < 5; i++) ids.unshift((await newAccount(person, { name: `account ${i}` })).id)
    const pages = async (who: string, limit: number) => {
      const found: string[] = []
      for (let cursor: string | null = ''; cursor !== null; ) {
        const more: string = cursor === '' ? '' : `&cursor=${cursor}`
        const { body } = await as(who, `GET /service-accounts?limit=${limit}${more}`)
        found.push(...body.items.map(({ id }: ListedAccount) => id))
        cursor = body.next_cursor
      }
      return found
    }
    for (const limit of [1, 2, 5, 100]) expect(await pages(person.access, limit)).toEqual(ids)
    const all = (await sql`SELECT id FROM latchkey.service_accounts ORDER BY id DESC`).map(({ id }) => id)
    expect(await pages(admin.access, 3)).toEqual(all)
    expect(all.length).toBeGreaterThan(5)
    expect((await as(stranger.access, 'GET /service-accounts')).text).not.toContain(ids[0] ?? '')
    const cursor = (await as(person.access, 'GET /service-accounts?limit=2')).body.next_cursor
    for (const [who, query] of [
      [stranger.access, `cursor=${cursor}`],
      [admin.access, `cursor=${cursor}`],
      [person.access, `cursor=${cursor}0`],
      [person.access, 'limit=101'],
    ]) {
      expectProblem(await as(who ?? '', `GET /service-accounts?${query}`), 'validation_failed')
    }
  })
})

describe('changing a service account', () => {
  test('changes the members of the body, and clears optional ones', async () => {
    const { id } = await newAccount(maker, { description: 'first', scopes: ['read'] })
    const steps: [Record<string, unknown>, Record<string, unknown>][] = [
      [{ name: 'renamed' }, { name: 'renamed', description: 'first', scopes: ['read'], is_active: true }],
      [{ description: null }, { name: 'renamed', description: null }],
      [{ description: 'second' }, { description: 'second' }],
      [{ scopes: 'read deploy' }, { scopes: ['read', 'deploy'] }],
      [{ scopes: null }, { scopes: [] }],
      [{ is_active: false }, { is_active: false }],
      [{}, { is_active: false, name: 'renamed' }],
    ]
    for (const [json, expected] of steps) {
      const answer = await patch(maker.access, id, json)
      expect([answer.status, answer.body]).toMatchObject([200, expected])
      expect((await get(maker.access, id)).body).toEqual(answer.body)
    }
  })

  test.each<[string, unknown, ErrorCode]>([
    ['a name of null', { name: null }, 'validation_failed'],
    ['an empty name', { name: '' }, 'validation_failed'],
    ['a maker', { created_by: null }, 'validation_failed'],
    ['text for a state', { is_active: 'no' }, 'validation_failed'],
    ['a malformed scope', { scopes: ['*'] }, 'validation_failed'],
    ['a scope that is not the caller’s to give', { scopes: ['read', 'admin'] }, 'insufficient_scope'],
    ['a reserved one', { scopes: [READ] }, 'insufficient_scope'],
    ['no body', undefined, 'validation_failed'],
  ])('is refused as a whole with %s', async (_, json, code) => {
    const account = await newAccount(maker)
    const beside = json === undefined ? json : { description: 'beside it', ...(json as object) }
    expectProblem(await patch(maker.access, account.id, beside), code)
    expect((await get(maker.access, account.id)).body).toEqual(account)
  })

  test('a manager with a lowered ceiling cannot widen or enable beyond it, and can still narrow and delete', async () => {
    const person = await addLoggedIn(service, sql, { scopes: ['read', 'write'] })
    const account = await newAccount(person)
    const sleeping = await newAccount(person)
    await patch(person.access, sleeping.id, { is_active: false })
    await as(admin.access, `PATCH /users/${person.id}`, { scopes: ['read'] })
    expectProblem(await patch(person.access, sleeping.id, { is_active: true }), 'insufficient_scope')
    expect((await patch(person.access, sleeping.id, { is_active: true, scopes: ['read'] })).status).toBe(200)
    expect((await patch(person.access, account.id, { name: 'still mine' })).body.scopes).toEqual([
      'read',
      'write',
    ])
    expect((await patch(person.access, account.id, { scopes: ['write'] })).body.scopes).toEqual(['write'])
    expectProblem(
      await patch(person.access, account.id, { scopes: ['write', 'deploy'] }),
      'insufficient_scope',
    )
    expect((await patch(person.access, account.id, { is_active: false })).status).toBe(200)
    expect((await remove(person.access, account.id)).status).toBe(204)
  })

  test('a lower ceiling narrows its keys from the next request', async () => {
    const { id } = await newAccount(maker, { scopes: ['read', 'deploy'] })
    const { key } = await keyOf(maker, id, { scopes: ['read', 'deploy'] })
    const token = (await tokenOf(id, key)).body.access_token
    for (const [scopes, held] of [
      [['deploy'], ['deploy']],
      [[], []],
      [['read', 'write'], ['read']],
      [
        ['deploy', 'read'],
        ['read', 'deploy'],
      ],
    ]) {
      await patch(maker.access, id, { scopes })
      expect(await scopesOf(key)).toEqual(held)
      expect(await scopesOf(token)).toEqual(held)
    }
  })
})

describe('a service account', () => {
  test('is managed by its maker and by admins, and answers 404 to others', async () => {
    const account = await newAccount(maker)
    const key = await keyOf(maker, account.id)
    for (const who of [stranger.access, 'other']) {
      const bearer = who === 'other' ? (await addLoggedIn(service, sql)).access : who
      for (const answer of [
        await get(bearer, account.id),
        await patch(bearer, account.id, { is_active: false }),
        await remove(bearer, account.id),
        await as(bearer, 'POST /keys/create', { service_account_id: account.id }),
        await as(bearer, `GET /keys/list?service_account_id=${account.id}`),
        await as(bearer, `DELETE /keys/revoke/${key.id}`),
      ]) {
        expectProblem(answer, 'not_found')
      }
    }
    for (const id of [Bun.randomUUIDv7(), 'x', account.id.toUpperCase()]) {
      expectProblem(await get(maker.access, id), 'not_found')
      expectProblem(await patch(admin.access, id, {}), 'not_found')
      expectProblem(await remove(admin.access, id), 'not_found')
    }
    expect((await get(maker.access, account.id)).body).toEqual(account)
    expect(await isGood(key.key)).toBe(true)
    expect((await get(admin.access, account.id)).status).toBe(200)
    expect((await patch(admin.access, account.id, { name: 'by an admin' })).body).toMatchObject({
      name: 'by an admin',
      created_by: maker.id,
    })
    expect((await remove(admin.access, account.id)).status).toBe(204)
    expectProblem(await get(maker.access, account.id), 'not_found')
  })

  test('has its own keys, within its ceiling and its maker’s power, in a list of their own', async () => {
    const account = await newAccount(maker, { scopes: ['read', 'deploy'] })
    const made = await as(maker.access, 'POST /keys/create', {
      service_account_id: account.id,
      scopes: ['read'],
      name: 'one',
    })
    expect(made.body).toMatchObject({ service_account_id: account.id, user_id: null, created_by: maker.id })
    expect((await as(made.body.key, 'GET /auth/me')).body).toEqual({
      type: 'service_account',
      id: account.id,
      name: 'builder',
      auth_type: 'api_key',
      scopes: ['read'],
    })
    const beyond = { service_account_id: account.id, scopes: ['write'] }
    expectProblem(await as(maker.access, 'POST /keys/create', beyond), 'insufficient_scope')
    const { body: its } = await as(maker.access, `GET /keys/list?service_account_id=${account.id}`)
    expect(its.map(({ id }: ListedAccount) => id)).toEqual([made.body.id])
    const { body: own } = await as(maker.access, 'GET /keys/list')
    expect(own.map(({ id }: ListedAccount) => id)).not.toContain(made.body.id)
    // A maker with a lowered ceiling cannot make a key beyond that ceiling.
    await as(admin.access, `PATCH /users/${maker.id}`, { scopes: ['read'] })
    const lost = { service_account_id: account.id, scopes: ['deploy'] }
    expectProblem(await as(maker.access, 'POST /keys/create', lost), 'insufficient_scope')
    await as(admin.access, `PATCH /users/${maker.id}`, { scopes: ['read', 'write', 'deploy'] })
    expect((await as(maker.access, 'POST /keys/create', lost)).status).toBe(201)
  })

  test('that is disabled has its keys and their tokens refused at once; enabled, they are accepted again', async () => {
    const account = await newAccount(maker)
    const { key } = await keyOf(maker, account.id)
    const token = (await tokenOf(account.id, key)).body.access_token
    expect([await isGood(key), await isGood(token)]).toEqual([true, true])
    await patch(maker.access, account.id, { is_active: false })
    for (const bearer of [key, token]) expectProblem(await as(bearer, 'GET /auth/me'), 'invalid_token')
    expect((await tokenOf(account.id, key)).body.error).toBe('invalid_client')
    await patch(maker.access, account.id, { is_active: true })
    expect([await isGood(key), await isGood(token)]).toEqual([true, true])
  })

  test('that is deleted has its keys and their tokens refused for good, and no others', async () => {
    const [account, other] = [await newAccount(maker), await newAccount(maker)]
    const [key, bystander] = [await keyOf(maker, account.id), await keyOf(maker, other.id)]
    const token = (await tokenOf(account.id, key.key)).body.access_token
    expect(await isGood(token)).toBe(true)
    const answer = await remove(maker.access, account.id)
    expect([answer.status, answer.text]).toEqual([204, ''])
    for (const bearer of [key.key, token]) expectProblem(await as(bearer, 'GET /auth/me'), 'invalid_token')
    expectProblem(await remove(maker.access, account.id), 'not_found')
    expectProblem(await as(maker.access, `DELETE /keys/${key.id}`), 'not_found')
    expect(await isGood(bystander.key)).toBe(true)
    expect(await sql`SELECT 1 FROM latchkey.api_keys WHERE id = ${key.id}`).toHaveLength(0)
  })

  test('cannot have a password or a session', async () => {
    const account = await newAccount(maker)
    const { key } = await keyOf(maker, account.id)
    const token = (await tokenOf(account.id, key)).body
    expect(token.refresh_token).toBeUndefined()
    for (const bearer of [key, token.access_token]) {
      expectProblem(await as(bearer, 'GET /auth/sessions'), 'wrong_credential_kind')
      expectProblem(await as(bearer, 'POST /auth/logout-all'), 'wrong_credential_kind')
      const json = { current_password: key, new_password: 'another-long-one' }
      expectProblem(await as(bearer, 'POST /auth/password', json), 'wrong_credential_kind')
      expectProblem(await as(bearer, 'GET /protected/user-only'), 'wrong_credential_kind')
    }
    const json = { email: `${account.id}@example.com`, password: key }
    expectProblem(await call(service, 'POST /auth/login', { json }), 'invalid_login')
  })
})

describe('a service account whose maker is', () => {
  test('disabled keeps its keys, while the maker’s own keys are refused', async () => {
    const person = await addLoggedIn(service, sql)
    const account = await newAccount(person)
    const [own, its] = [
      await newKey(service, person.access, { scopes: ['read'] }),
      await keyOf(person, account.id),
    ]
    await as(admin.access, `PATCH /users/${person.id}`, { is_active: false })
    expect([await isGood(own.key), await isGood(its.key)]).toEqual([false, true])
    expect((await tokenOf(account.id, its.key)).status).toBe(200)
  })

  test('deleted is managed by admins, while the maker’s own keys end', async () => {
    const person = await addLoggedIn(service, sql)
    const account = await newAccount(person)
    const [own, its] = [
      await newKey(service, person.access, { scopes: ['read'] }),
      await keyOf(person, account.id),
    ]
    const token = (await tokenOf(account.id, its.key)).body.access_token
    await as(admin.access, `DELETE /users/${person.id}`)
    expect([await isGood(own.key), await isGood(its.key), await isGood(token)]).toEqual([false, true, true])
    expect((await get(admin.access, account.id)).body).toEqual({ ...account, managers: [], created_by: null })
    expect((await tokenOf(account.id, its.key)).status).toBe(200)
    for (const who of [stranger, maker]) {
      expectProblem(await get(who.access, account.id), 'not_found')
      expectProblem(await remove(who.access, account.id), 'not_found')
    }
    expect((await as(admin.access, `GET /keys/list?service_account_id=${account.id}`)).body).toHaveLength(1)
    expect((await as(admin.access, `DELETE /keys/${its.id}`)).status).toBe(200)
    expect(await isGood(its.key)).toBe(false)
    const again = await keyOf(admin, account.id)
    expect(await isGood(again.key)).toBe(true)
    expect((await remove(admin.access, account.id)).status).toBe(204)
  })

  test('deleted is not managed by a new user with the maker’s e-mail', async () => {
    const person = await addLoggedIn(service, sql)
    const account = await newAccount(person)
    await as(admin.access, `DELETE /users/${person.id}`)
    const next = await addPerson(sql, { email: person.email })
    const { access } = await beginSession(service, next)
    expectProblem(await get(access, account.id), 'not_found')
    expect((await as(access, 'GET /service-accounts')).body.items).toEqual([])
  })
})

describe('a key that manages service accounts', () => {
  const manager = async (owner: Person, scopes: string[]) =>
    (await newKey(service, owner.access, { scopes })).key

  test('needs the scope, which only admins grant', async () => {
    const plain = await manager(maker, ['read'])
    const reader = await manager(admin, [READ])
    const account = await newAccount(admin, { scopes: [] })
    for (const [route, json] of [
      ['GET /service-accounts', undefined],
      ['POST /service-accounts', { name: 'x', scopes: [] }],
      [`GET /service-accounts/${account.id}`, undefined],
      [`PATCH /service-accounts/${account.id}`, { name: 'y' }],
      [`DELETE /service-accounts/${account.id}`, undefined],
    ] as const) {
      expectProblem(await as(plain, route, json), 'insufficient_scope')
      if (route.startsWith('GET')) expect([route, (await as(reader, route)).status]).toEqual([route, 200])
      else expectProblem(await as(reader, route, json), 'insufficient_scope')
    }
    expectProblem(await as(maker.access, 'POST /keys/create', { scopes: [WRITE] }), 'insufficient_scope')
    // A user may have the scope by their ceiling, and may then grant it to a key.
    const person = await addLoggedIn(service, sql, { scopes: [WRITE, READ, 'read'] })
    expect((await create(await manager(person, [WRITE, 'read']), { scopes: 'read' })).status).toBe(201)
  })

  test('makes accounts for its owner, and manages the owner’s accounts only within its own power', async () => {
    const person = await addLoggedIn(service, sql, { scopes: [WRITE, READ, 'read', 'deploy'] })
    const key = await manager(person, [WRITE, READ, 'read'])
    const made = await create(key)
    expect(made.body).toMatchObject({ created_by: person.id, scopes: [WRITE, READ, 'read'] })
    const small = await newAccount(person, { scopes: ['read'] })
    const large = await newAccount(person, { scopes: ['read', 'deploy'] })
    // An account whose keys do more at Latchkey's own API than this key.
    await as(admin.access, `PATCH /users/${person.id}`, {
      scopes: [WRITE, READ, USERS_READ, 'read', 'deploy'],
    })
    const reader = await newAccount(person, { scopes: ['read', USERS_READ] })
    const foreign = await newAccount(maker, { scopes: ['read'] })
    expect((await patch(key, small.id, { name: 'by the key' })).status).toBe(200)
    expectProblem(await patch(key, small.id, { scopes: ['read', 'deploy'] }), 'insufficient_scope')
    expectProblem(await create(key, { scopes: 'deploy' }), 'insufficient_scope')
    for (const { id } of [reader, foreign]) {
      expectProblem(await get(key, id), 'not_found')
      expectProblem(await patch(key, id, { is_active: false }), 'not_found')
      expectProblem(await remove(key, id), 'not_found')
    }
    // A key lowers what it could not grant, and gives none of it back.
    expect((await patch(key, large.id, { is_active: false })).status).toBe(200)
    expectProblem(await patch(key, large.id, { is_active: true }), 'insufficient_scope')
    const beyond = { service_account_id: large.id, scopes: ['deploy'] }
    const keysKey = await manager(person, [WRITE, KEYS_WRITE, 'read'])
    expectProblem(await as(keysKey, 'POST /keys', beyond), 'insufficient_scope')
    expect((await as(keysKey, 'POST /keys', { ...beyond, scopes: ['read'] })).status).toBe(201)
    expect((await remove(key, small.id)).status).toBe(204)
    expect((await get(person.access, large.id)).status).toBe(200)
    const [row] = await sql`SELECT actor_type FROM latchkey.audit_events
      WHERE target_id = ${small.id} AND action = 'service_account.deleted'`
    expect(row?.actor_type).toBe('key')
  })

  test('lists only the accounts that it may manage', async () => {
    const person = await addLoggedIn(service, sql, { scopes: [READ, 'read', USERS_READ] })
    const key = await manager(person, [READ, 'read'])
    const small = await newAccount(person, { scopes: ['read'] })
    const large = await newAccount(person, { scopes: ['read', USERS_READ] })
    const { body } = await as(key, 'GET /service-accounts')
    expect(body.items.map(({ id }: ListedAccount) => id)).toEqual([small.id])
    expectProblem(await get(key, large.id), 'not_found')
  })

  test('of an admin does not act as an admin: accounts of others answer 404', async () => {
    const key = await manager(admin, [WRITE, READ, 'read', 'write', 'deploy'])
    const foreign = await newAccount(maker, { scopes: ['read'] })
    expect((await get(admin.access, foreign.id)).status).toBe(200)
    expectProblem(await get(key, foreign.id), 'not_found')
    expectProblem(await remove(key, foreign.id), 'not_found')
    expect((await as(key, 'GET /service-accounts')).text).not.toContain(foreign.id)
  })

  test('of a service account manages what that account makes, and not the account itself', async () => {
    const account = await newAccount(admin, { scopes: [WRITE, READ, 'read'] })
    const { key } = await keyOf(admin, account.id, { scopes: [WRITE, READ, 'read'] })
    const other = await keyOf(admin, (await newAccount(admin, { scopes: [WRITE, READ, 'read'] })).id, {
      scopes: [WRITE, READ, 'read'],
    })
    expectProblem(await get(key, account.id), 'not_found')
    expectProblem(await patch(key, account.id, { scopes: [] }), 'not_found')
    expectProblem(await remove(key, account.id), 'not_found')
    expect((await as(key, 'GET /service-accounts')).body.items).toEqual([])
    const made = await create(key, { scopes: 'read' })
    expect(made.body).toMatchObject({
      created_by: null,
      scopes: ['read'],
      managers: [{ type: 'service_account', id: account.id }],
    })
    expect((await as(key, 'GET /service-accounts')).body.items).toEqual([made.body])
    expect((await patch(key, made.body.id, { name: 'renamed' })).status).toBe(200)
    expectProblem(await get(other.key, made.body.id), 'not_found')
    expectProblem(await patch(other.key, made.body.id, { name: 'mine' }), 'not_found')
    expect((await get(admin.access, made.body.id)).status).toBe(200)
  })
})
