import { beforeAll, describe, expect, test } from 'bun:test'
import { updateLastUses } from '../../src/core/usage/queries.ts'
import { DAY_MS } from '../../src/lib/time.ts'
import { newKey } from '../support/client.ts'
import { call } from '../support/described.ts'
import { newClient } from '../support/oauth.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const owner = prepare(() => addLoggedIn(service, sql))

type Shown = { id: string; name: string; usage: number[]; owner: object }
const NOON = new Date(new Date().setUTCHours(12, 0, 0, 0))
const daysAgo = (days: number) => new Date(NOON.getTime() - days * DAY_MS)
const iso = (at: Date) => encodeURIComponent(at.toISOString())

/** Keys by name: when each ends and was last used, in days from now. */
const KEYS: Record<string, { ends: number | null; used: number | null }> = {
  beta: { ends: 30, used: 3 },
  Alpha: { ends: null, used: null },
  gamma: { ends: 10, used: 1 },
  delta: { ends: null, used: 40 },
  alpha2: { ends: 20, used: null },
}
const ids: Record<string, string> = {}
let unnamed = ''
beforeAll(async () => {
  for (const [name, { ends, used }] of Object.entries(KEYS)) {
    const { id } = await newKey(service, owner.access, { name })
    ids[name] = id
    await sql`UPDATE latchkey.api_keys SET expires_at = ${ends && daysAgo(-ends)}, created_at = ${daysAgo(50)},
      name = ${name} WHERE id = ${id}`
    if (used) await useAt(id, daysAgo(used))
  }
  unnamed = (await newKey(service, owner.access)).id
  ids.unnamed = unnamed
})
/** Writes the last use of a key as the usage batch does. */
async function useAt(id: string, at: Date) {
  const [secret] = await sql`SELECT id FROM latchkey.api_key_secrets WHERE key_id = ${id}`
  await sql`DELETE FROM latchkey.key_activity WHERE key_id = ${id}`
  await sql`UPDATE latchkey.api_key_secrets SET last_used_at = NULL WHERE key_id = ${id}`
  const uses = [{ secretId: secret?.id as string, at }]
  await service.context.db.transaction((tx) => updateLastUses(tx, uses))
}
const nameOf = (id: string) => Object.entries(ids).find(([, each]) => each === id)?.[0] ?? id
const list = (query: string, bearer = owner.access) => call(service, `GET /keys${query}`, { bearer })
const names = async (query: string) => {
  const answer = await list(query)
  expect(`${answer.status} ${answer.text}`).toStartWith('200')
  return answer.body.map(({ id }: Shown) => nameOf(id))
}
const nextOf = (link: string | null) => /<(\?[^>]*)>; rel="next"/.exec(link ?? '')?.[1]

/** All names of a list that is read in pages of one size. */
async function inPages(query: string, limit: number): Promise<string[]> {
  const found: string[] = []
  for (let next: string | undefined = `${query}&limit=${limit}`; next !== undefined; ) {
    const answer = await list(next)
    expect(answer.status).toBe(200)
    found.push(...answer.body.map(({ id }: Shown) => nameOf(id)))
    next = nextOf(answer.headers.get('link'))
    expect(found.length).toBeLessThan(20)
  }
  return found
}

describe('a list of keys', () => {
  test.each<[string, () => string[]]>([
    ['name', () => ['Alpha', 'alpha2', 'beta', 'delta', 'gamma', 'unnamed']],
    ['expires_at', () => ['gamma', 'alpha2', 'beta', ...byId(['Alpha', 'delta', 'unnamed'])]],
    ['last_used_at', () => ['gamma', 'beta', 'delta', ...byId(['Alpha', 'alpha2', 'unnamed']).reverse()]],
    ['created_at', () => ['unnamed', ...byId(['beta', 'Alpha', 'gamma', 'delta', 'alpha2']).reverse()]],
  ])('is sorted by %s, in pages of any size', async (sort, expected) => {
    expect(await names(`?sort=${sort}`)).toEqual(expected())
    for (const limit of [1, 2, 4]) expect(await inPages(`?sort=${sort}`, limit)).toEqual(expected())
  })
  const byId = (some: string[]) => some.toSorted((a, b) => ((ids[a] ?? '') < (ids[b] ?? '') ? -1 : 1))

  test('of everybody is sorted by what an index has alone', async () => {
    for (const sort of ['created_at', 'expires_at'])
      expect((await list(`?all=true&sort=${sort}`, admin.access)).status).toBe(200)
    for (const sort of ['name', 'last_used_at']) {
      const answer = await list(`?all=true&sort=${sort}`, admin.access)
      expectProblem(answer, 'validation_failed')
      expect(answer.body.errors[0].path).toBe('?sort')
      expect((await list(`?user_id=${owner.id}&sort=${sort}`, admin.access)).status).toBe(200)
    }
  })

  test('ends before a time: keys without an end are not among them', async () => {
    expect(await names(`?sort=expires_at&expires_before=${iso(daysAgo(-25))}`)).toEqual(['gamma', 'alpha2'])
    expect(await names(`?sort=expires_at&expires_before=${iso(daysAgo(-10))}`)).toEqual([])
  })

  test('unused since a day: by the last use, else by the creation', async () => {
    const since = async (days: number) => (await names(`?unused_since=${iso(daysAgo(days))}`)).toSorted()
    // By days: a use on that day counts, whatever the time.
    expect(await since(2)).toEqual(['Alpha', 'alpha2', 'beta', 'delta'])
    expect(await since(3)).toEqual(['Alpha', 'alpha2', 'delta'])
    expect(await since(39)).toEqual(['Alpha', 'alpha2', 'delta'])
    expect(await since(40)).toEqual(['Alpha', 'alpha2'])
    expect(await since(50)).toEqual([])
  })

  test('a last use that moves meanwhile repeats no key and leaves out none that stayed', async () => {
    const first = await list('?sort=last_used_at&limit=2')
    await useAt(ids.gamma ?? '', NOON)
    const rest = await list(`${nextOf(first.headers.get('link'))}`)
    expect(rest.body.map(({ id }: Shown) => nameOf(id))[0]).toBe('delta')
    await useAt(ids.gamma ?? '', daysAgo(1))
  })

  test('by name says so where the key at the place of the cursor is gone', async () => {
    const person = await addLoggedIn(service, sql)
    const made = [await newKey(service, person.access, { name: 'a' }), await newKey(service, person.access)]
    const first = await list('?sort=name&limit=1', person.access)
    const next = nextOf(first.headers.get('link')) ?? ''
    expect((await list(next, person.access)).body.map(({ id }: Shown) => id)).toEqual([made[1]?.id])
    await call(service, `DELETE /keys/delete/${made[0]?.id}`, { bearer: person.access })
    const answer = await list(next, person.access)
    expectProblem(answer, 'validation_failed')
    expect(answer.body.errors[0].path).toBe('?cursor')
  })

  test('takes no cursor of another order or filter', async () => {
    const first = await list('?sort=expires_at&limit=1')
    const cursor = new URLSearchParams(nextOf(first.headers.get('link'))).get('cursor')
    expect((await list(`?sort=expires_at&limit=1&cursor=${cursor}`)).status).toBe(200)
    for (const other of ['sort=name', 'sort=created_at', `sort=expires_at&expires_before=${iso(NOON)}`])
      expectProblem(await list(`?${other}&limit=1&cursor=${cursor}`), 'validation_failed')
  })
})

describe('expand', () => {
  test('shows the owner: a user by address, a service account by name', async () => {
    const { id: account } = await newClient(service, owner.access)
    const json = { service_account_id: account }
    await call(service, 'POST /keys', { bearer: owner.access, json })
    const [row] = await sql`SELECT name FROM latchkey.service_accounts WHERE id = ${account}`
    const ofUser = (await list('?expand=owner&limit=1')).body[0]
    expect(ofUser.owner).toEqual({ type: 'user', id: owner.id, label: owner.email })
    const ofAccount = (await list(`?expand=owner&service_account_id=${account}`)).body[0]
    expect(ofAccount.owner).toEqual({ type: 'service_account', id: account, label: row?.name })
    expect((await list('?limit=1')).body[0]).not.toHaveProperty('owner')
  })

  test('shows the uses of thirty days, the oldest first, whatever came of them', async () => {
    const { id } = await newKey(service, owner.access)
    const today = new Date(new Date().setUTCHours(0, 0, 0, 0))
    const at = (days: number, hour: number) => new Date(today.getTime() - days * DAY_MS + hour * 3_600_000)
    const uses: [Date, string, number][] = [
      [at(0, 0), 'VALID', 1],
      [at(1, 0), 'VALID', 10],
      [at(1, 23), 'EXPIRED', 5],
      [at(29, 0), 'VALID', 7],
      [at(30, 23), 'VALID', 100],
    ]
    for (const [hour, outcome, count] of uses)
      await sql`INSERT INTO latchkey.key_usage VALUES (${id}, ${hour}, ${outcome}, ${count})`
    const [key, other] = (await list('?expand=usage,owner&limit=2')).body as Shown[]
    expect(key?.id).toBe(id)
    expect(key?.usage).toEqual([7, ...Array(27).fill(0), 15, 1])
    expect(other?.usage).toEqual(Array(30).fill(0))
    expect(key?.owner).toBeDefined()
  })

  test('is refused for what it does not know, and for pages that are too long', async () => {
    for (const [query, path] of [
      ['?expand=secrets', '?expand'],
      ['?expand=owner,', '?expand'],
      ['?expand=usage&limit=101', '?limit'],
    ] as const) {
      const answer = await list(query)
      expectProblem(answer, 'validation_failed')
      expect(answer.body.errors[0].path).toBe(path)
    }
    expect((await list('?expand=usage&limit=100')).status).toBe(200)
    expect((await list('?expand=owner&limit=1000')).status).toBe(200)
  })
})
