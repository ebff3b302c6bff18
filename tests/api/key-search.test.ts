import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { newKey } from '../support/client.ts'
import { call } from '../support/described.ts'
import { newClient } from '../support/oauth.ts'
import { addLoggedIn, LABELLER } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const service = useService({ apiKeysPerOwner: 100_000 })
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin', email: 'admin@search.example.com' }))
const owner = prepare(() =>
  addLoggedIn(service, sql, { email: 'zoe.öztürk@search.example.com', scopes: LABELLER }),
)
const other = prepare(() => addLoggedIn(service, sql, { email: 'yan@elsewhere.example.org' }))

type Named = { id: string; name?: string; email?: string }
const get = (path: string, bearer: string) => call(service, `GET ${path}`, { bearer })
const itemsOf = (body: Named[] | { items: Named[] }) => (Array.isArray(body) ? body : body.items)
/** The names that a search finds, sorted. */
async function find(query: string, bearer = owner.access, path = '/keys?') {
  const answer = await get(`${path}query=${encodeURIComponent(query)}`, bearer)
  expect(`${answer.status} ${answer.text}`).toStartWith('200')
  return itemsOf(answer.body)
    .map(({ name, email }) => name ?? email)
    .toSorted()
}
const findAll = (query: string) => find(query, admin.access, '/keys?all=true&')

describe('a search of keys', () => {
  beforeAll(async () => {
    for (const json of [
      { name: 'Nightly report, billing' },
      { name: 'Nightly backup' },
      { name: 'acme-prod_v2', external_id: 'cus/42:eu' },
      { name: 'ÄRGER Größe Καλημέρα' },
      { name: 'ﬁne ｗｉｄｅ' },
      { name: "it's \\ & | ! <-> :* (x)" },
    ])
      await newKey(service, owner.access, json)
    await newKey(service, other.access, { name: 'Nightly of another' })
  })

  test.each<[string, string[]]>([
    ['nightly', ['Nightly backup', 'Nightly report, billing']],
    ['NIGHT', ['Nightly backup', 'Nightly report, billing']],
    ['bill night', ['Nightly report, billing']],
    ['night rep bill', ['Nightly report, billing']],
    ['report nothing', []],
    ['ightly', []],
    ['prod', ['acme-prod_v2']],
    ['acme prod v2', ['acme-prod_v2']],
    ['acme-prod', ['acme-prod_v2']],
    ['cus/42', ['acme-prod_v2']],
    ['prod 42', ['acme-prod_v2']],
    ['ärger', ['ÄRGER Größe Καλημέρα']],
    ['GRÖSS', []],
    ['GRÖß', ['ÄRGER Größe Καλημέρα']],
    ['καλη', ['ÄRGER Größe Καλημέρα']],
    ['fine wide', ['ﬁne ｗｉｄｅ']],
    ['ｎｉｇｈｔ', ['Nightly backup', 'Nightly report, billing']],
    ["it's x", ["it's \\ & | ! <-> :* (x)"]],
    ["' & !:* | ", []],
    ['%%', []],
    ['__', []],
    ['night_', ['Nightly backup', 'Nightly report, billing']],
    ['a1 b2 c3 d4 e5 f6', []],
  ])('for %p finds the keys of which every word begins a word: %p', async (query, expected) => {
    expect(await find(query)).toEqual(expected)
  })

  test("finds by a start, by the owner's address, and by the name of the service account", async () => {
    const { id, key } = await newKey(service, owner.access, { name: 'by start' })
    expect(await find(key.slice(0, 11))).toEqual(['by start'])
    expect(await findAll(key.slice(0, 10))).toEqual(['by start'])
    expect(await find(key.slice(1, 11))).toEqual([])
    await call(service, `DELETE /keys/delete/${id}`, { bearer: owner.access })

    const others = await findAll('yan@else')
    expect(others).toEqual(['Nightly of another'])
    expect(await find('yan@else', other.access)).toEqual(others)
    expect(await find('yan@else', owner.access)).toEqual([])
    expect(await findAll('ZOE.ÖZ')).toHaveLength(6)
    expect(await findAll('elsewhere')).toEqual([])

    const { id: account } = await newClient(service, owner.access)
    const patched = { bearer: owner.access, json: { name: 'Überseehandel AG' } }
    await call(service, `PATCH /service-accounts/${account}`, patched)
    const json = { service_account_id: account, name: 'of an account' }
    await call(service, 'POST /keys', { bearer: owner.access, json })
    for (const query of ['überseeh', 'ÜBERSEEHANDEL A'])
      expect([query, await findAll(query)]).toEqual([query, ['of an account']])
    const path = `/keys?service_account_id=${account}&`
    expect(await find('übersee', owner.access, path)).toEqual(['of an account'])
    // By its beginning alone: words are those of the key.
    expect(await findAll('ag')).toEqual([])
  })

  test('is narrowed and sorted like a list, and shows what was asked for', async () => {
    const path = `/keys?sort=name&status=active&expand=owner&`
    const { body } = await get(`${path}query=night`, owner.access)
    expect(body.map(({ name }: Named) => name)).toEqual(['Nightly backup', 'Nightly report, billing'])
    expect(body[0].owner.label).toBe(owner.email)
    expect(await find('night', owner.access, '/keys?status=revoked&')).toEqual([])
    expect(await find('42', owner.access, `/keys?external_id=${encodeURIComponent('cus/42:eu')}&`)).toEqual([
      'acme-prod_v2',
    ])
  })

  test('of a key stays within its reach', async () => {
    const wide = await newKey(service, owner.access, { name: 'Nightly wide', scopes: 'read write' })
    const { key } = await newKey(service, owner.access, { scopes: 'read latchkey:keys.read' })
    const found = await find('night', key)
    expect(found).toEqual(['Nightly backup', 'Nightly report, billing'])
    expect(await find('nightly wide')).toEqual(['Nightly wide'])
    await call(service, `DELETE /keys/delete/${wide.id}`, { bearer: owner.access })
  })

  test.each([
    ['a letter', '?query=a', '?query'],
    ['101 characters', `?query=${'a'.repeat(101)}`, '?query'],
    ['201 characters', `?query=${'a'.repeat(201)}`, '?query'],
    ['a cursor', '?query=night&cursor=x', '?cursor'],
    ['more than a page', '?query=night&limit=101', '?limit'],
  ])('with %s is refused', async (_, query, path) => {
    const answer = await get(`/keys${query}`, owner.access)
    expectProblem(answer, 'validation_failed')
    expect(answer.body.errors[0].path).toBe(path)
  })
})

describe('a search of users and service accounts', () => {
  test('finds an address by its beginning and by words in it, and not by their middle', async () => {
    const findUsers = (query: string) => find(query, admin.access, '/users?')
    expect(await findUsers('zoe.ö')).toEqual([owner.email])
    expect(await findUsers('ÖZTÜRK')).toEqual([owner.email])
    expect(await findUsers('search.example')).toEqual([admin.email, owner.email])
    expect(await findUsers('elsewhere org')).toEqual([other.email])
    expect(await findUsers('lsewhere')).toEqual([])
    expectProblem(await get('/users?query=z', admin.access), 'validation_failed')
    expect((await get('/users?query=search', admin.access)).body.next_cursor).toBeNull()
  })

  test('finds the accounts that the caller manages; an admin those of everybody', async () => {
    const made: string[] = []
    for (const [who, name] of [
      [owner, 'Crème brûlée Ltd'],
      [other, 'Crème fraîche'],
    ] as const) {
      const { id } = await newClient(service, who.access)
      made.push(id)
      await call(service, `PATCH /service-accounts/${id}`, { bearer: who.access, json: { name } })
    }
    const findAccounts = (query: string, bearer: string) => find(query, bearer, '/service-accounts?')
    expect(await findAccounts('crème', owner.access)).toEqual(['Crème brûlée Ltd'])
    expect(await findAccounts('LTD br', owner.access)).toEqual(['Crème brûlée Ltd'])
    expect(await findAccounts('crème', admin.access)).toEqual(['Crème brûlée Ltd', 'Crème fraîche'])
    expect(await findAccounts('rème', admin.access)).toEqual([])
  })
})

describe('with many rows', () => {
  const KEYS = 30_000
  beforeAll(async () => {
    await sql`INSERT INTO latchkey.users (id, email, created_at)
      SELECT gen_random_uuid(), 'many' || n || '@bulk.example.com', now() FROM generate_series(1, 3000) n`
    await sql`INSERT INTO latchkey.service_accounts (id, name, scopes, created_at)
      SELECT gen_random_uuid(), 'Bulk customer ' || n, '{}', now() FROM generate_series(1, 3000) n`
    await sql`INSERT INTO latchkey.api_keys (id, user_id, name, scopes, created_at)
      SELECT gen_random_uuid(), u.id, 'bulk key ' || n || ' ' || u.email, '{}', now() + make_interval(secs => n)
      FROM generate_series(1, ${KEYS / 3000}) n, latchkey.users u WHERE u.email LIKE 'many%'`
    await sql`INSERT INTO latchkey.api_key_secrets (id, key_id, hash, start, created_at)
      SELECT gen_random_uuid(), id, sha256(id::text::bytea), 'sk_' || substr(md5(id::text), 1, 8), now()
      FROM latchkey.api_keys WHERE name LIKE 'bulk%'`
    await sql`INSERT INTO latchkey.account_managers (id, service_account_id, user_id, created_at)
      SELECT gen_random_uuid(), a.id, u.id, now() FROM latchkey.service_accounts a, latchkey.users u
      WHERE a.name LIKE 'Bulk%' AND u.email = 'many1@bulk.example.com'`
    await sql`INSERT INTO latchkey.owner_credits (owner_id, user_id, remaining)
      SELECT id, id, 1 FROM latchkey.users WHERE email LIKE 'many%'`
    await sql`INSERT INTO latchkey.owner_credits (owner_id, service_account_id, remaining)
      SELECT id, id, 1 FROM latchkey.service_accounts WHERE name LIKE 'Bulk%'`
    await sql`VACUUM ANALYZE latchkey.users, latchkey.service_accounts, latchkey.api_keys, latchkey.api_key_secrets,
      latchkey.account_managers, latchkey.owner_credits`
  })

  test.each([
    '/keys?all=true&query=bulk',
    '/keys?all=true&query=sk_',
    '/keys?all=true&query=many1@bulk.example.com',
    '/keys?all=true&query=many',
    '/keys?all=true&query=bulk&sort=expires_at',
    '/keys?all=true&query=bulk&status=active&expires_before=2030-01-01T00:00:00Z',
    '/keys?query=ni',
    '/keys?all=true&sort=expires_at',
    '/keys?all=true&status=disabled',
    '/keys?all=true&status=owner_disabled',
    '/users?query=bulk',
    '/users?query=many2',
    '/service-accounts?query=customer',
    '/service-accounts?query=bulk%20customer%202',
  ])('GET %s reads no table from end to end', async (path) => {
    const statements = await service.locks.record(async () => {
      expect((await get(path, admin.access)).status).toBe(200)
    })
    const reads = statements.filter(({ text }) => /^select/i.test(text))
    expect(reads.length).toBeGreaterThan(0)
    await sql.begin(async (tx) => {
      const planOf = async (text: string, params: readonly unknown[]) =>
        JSON.stringify(await tx.unsafe(`EXPLAIN ${text}`, [...params] as never[]))
      for (const { text, params } of reads) {
        // As the search itself sets it.
        const isSearch = text.includes('AS found')
        await tx.unsafe(`SET LOCAL enable_seqscan = ${isSearch ? 'off' : 'on'}`)
        expect({ text, plan: await planOf(text, params) }).toEqual({
          text,
          plan: expect.not.stringContaining('Seq Scan'),
        })
      }
      // The control: what no index has is read from end to end, whatever the setting.
      await tx.unsafe('SET LOCAL enable_seqscan = off')
      expect(await planOf("SELECT id FROM latchkey.api_keys WHERE name LIKE '%x%'", [])).toContain('Seq Scan')
    })
  })

  test('says where there is more, and answers a hundred', async () => {
    for (const [path, isTruncated] of [
      ['/keys?all=true&query=bulk', 'true'],
      ['/keys?all=true&query=many2999@bulk', null],
      ['/keys?all=true&query=sk_', 'true'],
      ['/keys?all=true&query=many', 'true'],
      ['/users?query=bulk', 'true'],
      ['/users?query=many2999@', null],
      ['/service-accounts?query=bulk', 'true'],
      ['/service-accounts?query=customer%202999', null],
    ] as const) {
      const answer = await get(path, admin.access)
      expect([path, answer.headers.get('x-search-truncated')]).toEqual([path, isTruncated])
      expect([path, itemsOf(answer.body).length > 0]).toEqual([path, true])
      if (isTruncated) expect([path, itemsOf(answer.body).length]).toEqual([path, 100])
    }
    const few = await get('/keys?all=true&query=many2999@bulk&limit=5', admin.access)
    expect([few.body.length, few.headers.get('x-search-truncated')]).toEqual([5, 'true'])
  })
})
