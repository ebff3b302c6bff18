import { beforeAll, describe, expect, test } from 'bun:test'
import { isOAuthPath } from '../../src/api/oauth-path.ts'
import { type Answer, type Call, call, newKey } from '../support/client.ts'
import { type AddedPerson, addLoggedIn, beginSession, LABELLER, type Tokens } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

type Json = Record<string, unknown>
type Someone = AddedPerson & Tokens

const UNKNOWN_ID = '0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6'
const MANAGES = ['latchkey:keys.read', 'latchkey:keys.write']
const READS = ['keys', 'users', 'audit', 'service-accounts'].map((noun) => `latchkey:${noun}.read`)
const RESERVED = [
  'verify',
  'introspect',
  'users.read',
  'users.write',
  'audit.read',
  'service-accounts.read',
  'service-accounts.write',
  'anything',
].map((name) => `latchkey:${name}`)

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const owner = prepare(() => addLoggedIn(service, sql))
const labeller = prepare(() => addLoggedIn(service, sql, { scopes: LABELLER }))
const stranger = prepare(() => addLoggedIn(service, sql))
let routes: Route[]
beforeAll(async () => {
  routes = readRoutes((await call(service, 'GET /openapi.json')).body)
})

/** A route of the OpenAPI document, and whether it answers without a credential. */
type Route = { method: string; path: string; isOpen: boolean }
type Document = { paths: Record<string, Record<string, { security?: Json[] }>> }

function readRoutes({ paths }: Document): Route[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { security = [] }]) => ({
      method: method.toUpperCase(),
      path,
      isOpen: security.length === 0 || security.some((one) => Object.keys(one).length === 0),
    })),
  )
}

const make = (json: Json = {}, who = owner) => newKey(service, who.access, { scopes: 'read', ...json })
const create = (json: Json, caller: Call = { bearer: owner.access }) =>
  call(service, 'POST /keys', { ...caller, json })
const patch = (id: string, json: Json, caller: Call = { bearer: owner.access }) =>
  call(service, `PATCH /keys/${id}`, { ...caller, json })
const rotate = (id: string, apiKey: string) => call(service, `POST /keys/${id}/rotate`, { apiKey })
const read = async (id: string, who = owner) =>
  (await call(service, `GET /keys/${id}`, { bearer: who.access })).body
const newAccount = async (who: Someone, json: Json = { scopes: ['read'] }) =>
  (await call(service, 'POST /service-accounts', { bearer: who.access, json: { name: 'builder', ...json } }))
    .body.id as string
const reads = (apiKey: string) => call(service, 'GET /protected/service-only', { apiKey })
/** The rows that a refused attack must not change. */
const state = async () =>
  (
    await sql`SELECT
      (SELECT json_agg(k ORDER BY id) FROM latchkey.api_keys k)::text AS keys,
      (SELECT json_agg(json_build_array(id, key_id, expires_at) ORDER BY id) FROM latchkey.api_key_secrets)::text AS secrets,
      (SELECT json_agg(u ORDER BY id) FROM latchkey.users u)::text AS users,
      (SELECT json_agg(a ORDER BY id) FROM latchkey.service_accounts a)::text AS accounts,
      (SELECT json_agg(json_build_array(id, ended_at) ORDER BY id) FROM latchkey.sessions)::text AS sessions`
  )[0]

describe('the owner and the powers of a key come from the caller, never from the body', () => {
  test.each([
    ['owner', () => stranger.id],
    ['owner', () => ({ user_id: stranger.id })],
    ['user_id', () => stranger.id],
    ['userId', () => stranger.id],
    ['created_by', () => stranger.id],
    ['id', () => UNKNOWN_ID],
    ['key', () => 'sk_chosen'],
    ['hash', () => 'ab'.repeat(32)],
    ['role', () => 'admin'],
    ['is_active', () => true],
    ['is_admin', () => true],
    ['revoked_at', () => null],
    ['secrets', () => []],
    ['Scopes', () => 'read'],
    ['scope', () => 'read'],
    ['expires_in', () => 5],
  ])('the member %s is refused in the body of a new key', async (name, value) => {
    for (const bearer of [owner.access, admin.access]) {
      const answer = await create({ [name]: value() }, { bearer })
      // null counts as absent for every member.
      if (value() === null) expect(answer.status).toBe(201)
      else expectProblem(answer, 'validation_failed')
    }
  })

  test('a service account of another user is not found by any caller; the caller’s own is', async () => {
    const [mine, theirs] = [await newAccount(owner), await newAccount(stranger)]
    const manager = await make({ scopes: ['read', ...MANAGES] })
    for (const caller of [{ bearer: owner.access }, { apiKey: manager.key }])
      for (const id of [theirs, UNKNOWN_ID]) {
        expectProblem(await create({ service_account_id: id }, caller), 'not_found')
      }
    expect((await create({ service_account_id: mine })).body.service_account_id).toBe(mine)
    const byKey = await create({ service_account_id: mine }, { apiKey: manager.key })
    expect(byKey.body.service_account_id).toBe(mine)
  })

  test('an admin cannot make a key for another user', async () => {
    const { body } = await create({ scopes: 'anything' }, { bearer: admin.access })
    expect(body).toMatchObject({ user_id: admin.id, created_by: admin.id })
  })
})

describe('no scopes mean none', () => {
  test.each([
    ['[]', []],
    ['null', null],
    ['""', ''],
    ['blanks', ' , \t\n'],
    ['absent', undefined],
  ])('%s', async (_, scopes) => {
    for (const who of [owner, admin]) {
      const made = await create({ scopes }, { bearer: who.access })
      expect([made.status, made.body.scopes]).toEqual([201, []])
      expectProblem(await reads(made.body.key), 'insufficient_scope')
      for (const route of ['GET /keys', 'GET /users', 'GET /audit', 'POST /keys/verify'])
        expectProblem(
          await call(service, route, {
            apiKey: made.body.key,
            ...(route.startsWith('POST') && { json: { key: 'x' } }),
          }),
          'insufficient_scope',
        )
    }
    if (scopes === undefined) return
    const { id, key } = await make({ scopes: 'read' })
    expect((await reads(key)).status).toBe(200)
    expect((await patch(id, { scopes })).body.scopes).toEqual([])
    expectProblem(await reads(key), 'insufficient_scope')
  })

  test('a key-managing key without further scopes cannot hand out any', async () => {
    const manager = await make({ scopes: MANAGES[1] })
    expect((await create({ scopes: [] }, { apiKey: manager.key })).status).toBe(201)
    expectProblem(await create({ scopes: 'read' }, { apiKey: manager.key }), 'insufficient_scope')
  })
})

describe('a scope is compared exactly', () => {
  test.each([
    '*',
    'read*',
    'read:*',
    '**',
    'r?ad',
    '.*',
    'READ',
    'Read',
    'r\u0435ad',
    'ｒead',
    'read\u200b',
    'read\u0000',
    'réad',
    'read:',
    ':read',
    'read::x',
    'read/write',
    '-read',
    '.read',
    '_read',
    'latchkey:',
    'Latchkey:verify',
    'latchkey:*',
    'x'.repeat(65),
    '"read"',
    "read'--",
    '{{read}}',
  ])('%j is refused as a scope', async (scope) => {
    for (const bearer of [owner.access, admin.access]) {
      for (const scopes of [scope, [scope], ['read', scope], `read,${scope}`])
        expectProblem(await create({ scopes }, { bearer }), 'validation_failed')
    }
  })

  test.each([['read '], [' read'], ['read\n'], ['read,write'], ['read write'], ['']])(
    '%j in a list is refused',
    async (scope) => {
      expectProblem(await create({ scopes: [scope] }, { bearer: admin.access }), 'validation_failed')
    },
  )

  test.each([
    'rea',
    'reads',
    'read.',
    'read:all',
    'read-',
    'read_',
    'all',
    'any',
    'admin',
    'null',
    'undefined',
    'true',
  ])('%j grants neither "read" nor everything', async (scope) => {
    expectProblem(await create({ scopes: scope }), 'insufficient_scope')
    const { key } = await make({ scopes: scope }, admin)
    expectProblem(await reads(key), 'insufficient_scope')
  })

  test('fifty scopes are accepted, fifty-one are refused, and a repeated scope counts once', async () => {
    const many = (n: number) => Array.from({ length: n }, (_, at) => `s${at}`)
    const bearer = admin.access
    expect((await create({ scopes: [...many(50), ...many(50)] }, { bearer })).body.scopes).toHaveLength(50)
    expectProblem(await create({ scopes: many(51) }, { bearer }), 'validation_failed')
  })

  test.each([[{ read: true }], [5], [true], [[['read']]], [[null]], [[5]]])(
    '%j is no list of scopes',
    async (scopes) => {
      expectProblem(await create({ scopes }), 'validation_failed')
    },
  )
})

describe('only admins hand out latchkey:* scopes', () => {
  test.each(RESERVED)('%s', async (scope) => {
    const account = await newAccount(owner)
    expectProblem(await create({ scopes: scope }), 'insufficient_scope')
    expectProblem(await create({ scopes: ['read', scope] }), 'insufficient_scope')
    expectProblem(await create({ scopes: scope, service_account_id: account }), 'insufficient_scope')
    const json = { name: 'n', scopes: ['read', scope] }
    expectProblem(
      await call(service, 'POST /service-accounts', { bearer: owner.access, json }),
      'insufficient_scope',
    )
    expectProblem(
      await call(service, `PATCH /service-accounts/${account}`, {
        bearer: owner.access,
        json: { scopes: [scope] },
      }),
      'insufficient_scope',
    )
    const { id } = await make()
    expectProblem(await patch(id, { scopes: ['read', scope] }), 'insufficient_scope')
    expectProblem(await patch(id, { scopes: ['read', scope] }, { bearer: admin.access }), 'forbidden')
    expect((await create({ scopes: scope }, { bearer: admin.access })).status).toBe(201)
  })

  test('also with USER_SCOPES=any; a user who was granted one such scope hands out that one and no other', async () => {
    const lax = await startService({ userScopes: 'any' }, service)
    try {
      const asUser = (scopes: string, who = owner) =>
        call(lax, 'POST /keys', { bearer: who.access, json: { scopes } })
      expect((await asUser('deploy')).status).toBe(201)
      for (const scope of RESERVED) expectProblem(await asUser(scope), 'insufficient_scope')
      const trusted = await addLoggedIn(service, sql, { scopes: ['read', 'latchkey:verify'] })
      expect((await asUser('latchkey:verify', trusted)).status).toBe(201)
      expectProblem(await asUser('latchkey:introspect', trusted), 'insufficient_scope')
    } finally {
      await lax.stop()
    }
  })

  test('the keys of a user who is no longer an admin lose their latchkey:* scopes', async () => {
    const former = await addLoggedIn(service, sql, { role: 'admin' })
    const { key } = await make({ scopes: ['latchkey:users.read', 'read'] }, former)
    const users = () => call(service, 'GET /users', { apiKey: key })
    expect((await users()).status).toBe(200)
    await call(service, `PATCH /users/${former.id}`, { bearer: admin.access, json: { role: 'user' } })
    expectProblem(await users(), 'insufficient_scope')
    expect((await reads(key)).status).toBe(200)
  })
})

describe('a key cannot exceed its own powers', () => {
  test('a key cannot manage itself (change, rotate, revoke), whatever its scopes', async () => {
    for (const who of [owner, admin]) {
      const manager = await make({ scopes: ['read', ...MANAGES] }, who)
      const caller = { apiKey: manager.key }
      const before = await state()
      for (const json of [
        {},
        { name: 'n' },
        { scopes: 'read,write' },
        { expires_at: null },
        { rate_limit: null },
      ])
        expectProblem(await patch(manager.id, json, caller), 'forbidden')
      expectProblem(await rotate(manager.id, manager.key), 'forbidden')
      expectProblem(await call(service, `DELETE /keys/${manager.id}`, caller), 'forbidden')
      const { start } = await read(manager.id, who)
      expectProblem(await call(service, `DELETE /keys/${manager.id}/secrets/${start}`, caller), 'forbidden')
      expect(await state()).toEqual(before)
    }
  })

  test('a key cannot make a key with more power than its own, nor give such power to one that it made', async () => {
    const bounds = { allowed_ips: ['127.0.0.1'], expires_in_days: 9 }
    const manager = await make({ scopes: ['read', ...MANAGES], ...bounds })
    const caller = { apiKey: manager.key }
    const child = (await create({ ...bounds, expires_in_days: 1, scopes: MANAGES }, caller)).body
    expect(child.created_by).toBe(manager.id)
    const wider: [Json, number][] = [
      [{ scopes: 'write' }, 403],
      [{ scopes: 'latchkey:verify' }, 403],
      [{ allowed_ips: null }, 403],
      [{ allowed_ips: ['127.0.0.0/8'] }, 403],
      [{ expires_at: '2099-01-01T00:00:00Z' }, 403],
    ]
    for (const [json, status] of wider) {
      const made = await create({ ...bounds, expires_in_days: null, ...json }, caller)
      expect([json, made.status]).toEqual([json, status])
      expect([json, (await patch(child.id, json, caller)).status]).toEqual([json, status])
      // Two keys cannot do it for each other either.
      const other = (await patch(manager.id, json, { apiKey: child.key })).status
      expect([json, other]).toEqual([json, 404])
    }
    expectProblem(await rotate(manager.id, child.key), 'not_found')
  })

  test('a key cannot get a secret of a wider key of the same owner', async () => {
    const manager = await make({ scopes: ['read', ...MANAGES] })
    const wider = await make({ scopes: 'read,write' })
    const equal = await make({ scopes: 'read' })
    expectProblem(await rotate(wider.id, manager.key), 'not_found')
    expect((await rotate(equal.id, manager.key)).status).toBe(201)
  })

  test('a key with credits cannot make, rotate or widen keys; it can narrow and revoke them', async () => {
    const bounds = { scopes: ['read', ...MANAGES] }
    const charged = await make({ ...bounds, credits: { remaining: 5 } })
    const free = await make(bounds)
    const sibling = await make({ scopes: 'read', credits: { remaining: 1 } })
    const caller = { apiKey: charged.key }
    for (const json of [{}, { credits: { remaining: 1 } }, { scopes: 'read' }])
      expectProblem(await create(json, caller), 'forbidden')
    expectProblem(await rotate(sibling.id, charged.key), 'forbidden')
    for (const json of [{ credits: null }, { credits: { remaining: 9 } }])
      expectProblem(await patch(sibling.id, json, caller), 'forbidden')
    expectProblem(await patch(charged.id, { credits: null }, caller), 'forbidden')
    expect((await patch(sibling.id, { credits: { remaining: 0 } }, caller)).status).toBe(200)
    // The control: a key without credits does all of it.
    expect((await patch(sibling.id, { credits: { remaining: 9 } }, { apiKey: free.key })).status).toBe(200)
    expect((await rotate(sibling.id, free.key)).status).toBe(201)
    expect((await create({}, { apiKey: free.key })).status).toBe(201)
    expect((await call(service, `DELETE /keys/${sibling.id}`, caller)).status).toBe(200)
  })
})

const ID_OF: [prefix: string, id: (who: Ids) => string][] = [
  ['/keys/', ({ key }) => key],
  ['/service-accounts/', ({ account }) => account],
  ['/auth/sessions/', ({ session }) => session],
  ['/users/', ({ user }) => user],
]
type Ids = { key: string; start: string; account: string; session: string; user: string }

/** The id of one resource of each kind that belongs to the person. */
async function idsOf(who: Someone): Promise<Ids> {
  const { id, key } = await make({}, who)
  const [session] =
    await sql`SELECT id FROM latchkey.sessions WHERE user_id = ${who.id} ORDER BY id DESC LIMIT 1`
  return {
    key: id,
    start: key.slice(0, 11),
    account: await newAccount(who),
    session: session?.id,
    user: who.id,
  }
}

function fill(path: string, ids: Ids): string {
  const id = ID_OF.find(([prefix]) => path.startsWith(prefix))?.[1](ids) ?? UNKNOWN_ID
  return path.replace('{id}', id).replace('{start}', ids.start)
}
const hasBody = (method: string) => ['POST', 'PUT', 'PATCH'].includes(method)
const bodyOf = (path: string) => {
  if (isOAuthPath(path)) return { form: { token: 'x' } }
  return { json: path.startsWith('/auth/passkeys/{') ? { name: 'n' } : {} }
}
const ask = ({ method, path }: Route, ids: Ids, caller: Call): Promise<Answer> =>
  call(service, `${method} ${fill(path, ids)}`, { ...caller, ...(hasBody(method) && bodyOf(path)) })

test('an admin’s read-only key changes nothing: every writing route of the document refuses it', async () => {
  const { key } = await make({ scopes: ['read', ...READS] }, admin)
  const ids = await idsOf(admin)
  const before = await state()
  // The holder of a key may end that key without a scope, and a maker the portal sessions that it made. The others ask, by a
  // body.
  const others = [
    '/keys/self',
    '/portal/sessions/{id}',
    '/keys/lookup',
    '/keys/{id}/check',
    '/oauth/userinfo',
  ]
  const writing = routes.filter(
    ({ method, path, isOpen }) => method !== 'GET' && !isOpen && !others.includes(path),
  )
  expect(writing.length).toBeGreaterThan(20)
  for (const route of writing) {
    const answer = await ask(route, ids, { apiKey: key })
    expect([route, answer.status]).toEqual([route, 403])
  }
  expect(await state()).toEqual(before)

  // The control: the key reads what its scopes allow, and its owner is not refused on the writing routes.
  for (const path of ['/keys', '/users', '/audit', '/service-accounts'])
    expect([path, (await call(service, `GET ${path}`, { apiKey: key })).status]).toEqual([path, 200])
  const nothing = { key: UNKNOWN_ID, start: 'x', account: UNKNOWN_ID, session: UNKNOWN_ID, user: UNKNOWN_ID }
  // One of these routes ends every session of its caller.
  const spare = await addLoggedIn(service, sql, { role: 'admin' })
  for (const route of writing) {
    const { access: bearer } = await beginSession(service, spare)
    const { status, body } = await ask(route, nothing, { bearer })
    // Some of them ask for the caller's password, which is missing here; one is for customers in the portal.
    if (body?.code === 'invalid_login' || route.path === '/portal/session') continue
    expect([route, status]).not.toEqual([route, 401])
    expect([route, status]).not.toEqual([route, 403])
  }
})

test('every route of the document that needs a credential answers 401 without one', async () => {
  const ids = await idsOf(owner)
  const before = await state()
  for (const route of routes.filter(({ isOpen }) => !isOpen)) {
    const answers = [await ask(route, ids, {}), await ask(route, ids, { apiKey: `sk_${'0'.repeat(49)}` })]
    expect([route, answers.map(({ status }) => status)]).toEqual([route, [401, 401]])
  }
  expect(await state()).toEqual(before)
})

/** The routes of what admins alone see. */
const ADMINS = /^\/(?:users|mails|resources|oauth\/clients)\//

test('every route with an id answers 404 for a resource that is not the caller’s', async () => {
  const [mine, theirs] = [await idsOf(owner), await idsOf(stranger)]
  const manager = await make({ scopes: ['read', ...MANAGES] })
  const withId = routes.filter(({ path }) => path.includes('{id}'))
  expect(withId.length).toBeGreaterThan(14)
  const before = await state()
  const unknown = (id: string) => ({ ...mine, key: id, account: id, session: id, user: id })
  for (const route of withId) {
    const isAdmins = ADMINS.test(route.path)
    const expected = isAdmins ? 403 : 404
    const others = [
      theirs,
      unknown(UNKNOWN_ID),
      unknown('nonsense'),
      unknown('1'),
      unknown('%00'),
      unknown('..%2f'),
    ]
    const upper = (ids: Ids) => unknown(fill('/keys/{id}', ids).slice(6).toUpperCase())
    for (const ids of [...others, upper(mine)]) {
      const answer = await ask(route, ids, { bearer: owner.access })
      expect([route, answer.status]).toEqual([route, expected])
      expect(answer.text).not.toContain(stranger.email)
    }
    if (route.path.startsWith('/keys') && route.path !== '/keys/delete/{id}') {
      const answer = await ask(route, theirs, { apiKey: manager.key })
      expect([route, answer.status]).toEqual([route, 404])
    }
    if (isAdmins) {
      const answer = await ask(route, unknown(UNKNOWN_ID), { bearer: admin.access })
      // 409: no mail can be sent.
      expect([route, [404, 409, 422].includes(answer.status)]).toEqual([route, true])
    }
  }
  expect(await state()).toEqual(before)
  // The control: the owner finds it.
  for (const route of withId.filter(({ method, path }) => method === 'GET' && !ADMINS.test(path)))
    expect([route, (await ask(route, mine, { bearer: owner.access })).status]).toEqual([route, 200])
})

describe('text', () => {
  const fields = ['name', 'description', 'external_id']
  const control = '\u0007'

  test.each(fields)(
    '%s with HTML is given back unchanged, as JSON that no browser renders as a page',
    async (field) => {
      const html = '<script>alert(1)</script><img src=x onerror=alert(1)>"\'&'
      const made = await create({ [field]: html }, { bearer: labeller.access })
      const answer = await call(service, `GET /keys/${made.body.id}`, { bearer: labeller.access })
      expect(answer.body[field]).toBe(html)
      expect(answer.headers.get('content-type')).toStartWith('application/json')
      expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
    },
  )

  test.each(
    fields.flatMap((field) =>
      [
        ['a control character', `a${control}b`],
        ['a NUL', 'a\u0000b'],
        ['an escape sequence of a terminal', '\u001b[2J'],
        ['half a character', 'a\ud800b'],
        ['a C1 control', 'a\u0085b'],
        ['10,000 characters', 'x'.repeat(10_000)],
      ].map(([what = '', text = '']): [string, string, string] => [field, what, text]),
    ),
  )('%s with %s is refused, and the answer does not repeat it', async (field, _, text) => {
    const made = await create({ [field]: text }, { bearer: labeller.access })
    expectProblem(made, 'validation_failed')
    expect(made.text).not.toContain('x'.repeat(100))
    const { id } = await make()
    expectProblem(await patch(id, { [field]: text }), 'validation_failed')
  })

  test.each<[string, string, number]>([
    ['name', 'x'.repeat(100), 201],
    ['name', 'x'.repeat(101), 422],
    ['name', '', 422],
    ['description', 'x'.repeat(500), 201],
    ['description', 'x'.repeat(501), 422],
    ['external_id', 'x'.repeat(255), 201],
    ['external_id', 'x'.repeat(256), 422],
    ['name', 'Ключ 鍵 🔑', 201],
    ['name', "Robert'); DROP TABLE latchkey.api_keys; --", 201],
  ])('%s %p → %p', async (field, text, status) => {
    expect((await create({ [field]: text }, { bearer: labeller.access })).status).toBe(status)
  })

  test('of a reason is one line of limited length', async () => {
    const { id } = await make()
    for (const reason of ['a%00b', 'a%0ab', 'x'.repeat(501)])
      expectProblem(
        await call(service, `DELETE /keys/${id}?reason=${reason}`, { bearer: owner.access }),
        'validation_failed',
      )
    expect((await call(service, `DELETE /keys/${id}?reason=ok`, { bearer: owner.access })).status).toBe(200)
  })
})

describe('an expiry', () => {
  test.each([
    '2020-01-01T00:00:00Z',
    '1970-01-01T00:00:00Z',
    '0000-01-01T00:00:00Z',
    '10000-01-01T00:00:00Z',
    '+010000-01-01T00:00:00Z',
    '9999-12-31T23:59:59-01:00',
    '2099-02-29T00:00:00Z',
    '2099-13-01T00:00:00Z',
    '2099-01-01',
    '2099-01-01T00:00:00',
    '2099-01-01 00:00:00Z',
    'infinity',
    'never',
    'tomorrow',
    '',
    '4102444800',
    4_102_444_800,
    true,
    {},
  ])('%j is refused for a new key and for an existing one', async (expires_at) => {
    expectProblem(await create({ expires_at }), 'validation_failed')
    const { id } = await make({ expires_at: '2099-01-01T00:00:00Z' })
    expectProblem(await patch(id, { expires_at } as Json), 'validation_failed')
    expect((await read(id)).expires_at).toBe('2099-01-01T00:00:00.000Z')
  })
})
