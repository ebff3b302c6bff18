import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { oauthClients, oauthGrants, resources } from '../../src/db/oauth.ts'
import { secret } from '../../src/lib/secret.ts'
import { type Answer, call, logIn, newKey, newPerson, type Person } from '../support/client.ts'
import { adminToken, newClient } from '../support/oauth.ts'
import { connectTo } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { appRows } from '../support/rows.ts'
import { startService, type TestService } from '../support/service.ts'

setDefaultTimeout(240_000)

/** The id of a user with several open password resets. */
const WITH_RESETS = Bun.randomUUIDv7()

/** A list that is given in pages, with at least two items. */
type List = {
  path: string
  /** The access token of the caller at a server. */
  bearer(at?: TestService): string
  /** The access token of another caller, whose list is another. Missing where every caller gets the same list. */
  other?: () => string
  /** A query that filters the list. */
  filter?: string
  /** A list of what `stranger` does not have, whose ALGORITHM is HS256. */
  isOfApps?: true
}

let service: TestService
/** A server on the same database with another SECRET_KEY. */
let stranger: TestService
let one: Person
let two: Person
let admin: string
/** Access tokens of the first person and the admin at `stranger`. */
let abroad: { one: string; admin: string }
beforeAll(async () => {
  service = await startService()
  admin = await adminToken(service)
  ;[one, two] = [await newPerson(service), await newPerson(service)]
  for (const person of [one, two]) {
    for (let i = 0; i < 3; i++) {
      await logIn(service, person.email, person.password)
      await newKey(service, person.access, { scopes: ['read'] })
      await newClient(service, person.access)
    }
  }
  const sql = connectTo(service)
  await sql`INSERT INTO latchkey.users (id, email, created_at) VALUES (${WITH_RESETS}, 'resets@example.com', now())`
  await sql`INSERT INTO latchkey.one_time_tokens (id, purpose, user_id, created_at, expires_at)
    SELECT gen_random_uuid(), 'reset', ${WITH_RESETS}, now(), now() + interval '1 hour'
    FROM generate_series(1, 3) AS n`
  await sql`INSERT INTO latchkey.sessions (id, user_id, salt, created_at, rotated_at, idle_expires_at, expires_at)
    SELECT gen_random_uuid(), ${WITH_RESETS}, uuid_send(gen_random_uuid()), now(), now(), now() + interval '1 d',
      now() + interval '1 d' FROM generate_series(1, 3) AS n`
  await sql`INSERT INTO latchkey.mails (id, kind, recipient, parameters, created_at, next_attempt_at)
    SELECT gen_random_uuid(), 'test', 'somebody@example.com', '{}', now(), now() FROM generate_series(1, 3) AS n`
  await sql.end()
  const secretKey = secret(randomBytes(48).toString('base64'))
  stranger = await startService({ algorithm: 'HS256', secretKey }, service)
  const { access } = await logIn(stranger, one.email, one.password)
  abroad = { one: access, admin: await adminToken(stranger) }
  await addApps()
})
afterAll(async () => {
  await stranger.stop()
  await service.stop()
})

/** Three APIs, three apps, and what people allowed each. Not before `stranger` is up, which would not start with them. */
async function addApps(): Promise<void> {
  const { db } = service.context
  for (let i = 0; i < 3; i++) {
    const [client, resource] = [appRows.client(), appRows.resource()]
    await db.insert(oauthClients).values(client)
    await db.insert(resources).values(resource)
    for (const userId of [one.id, two.id, WITH_RESETS])
      await db.insert(oauthGrants).values(appRows.grant(userId, client.id, resource.id))
  }
}

const asOne = (at?: TestService) => (at === stranger ? abroad.one : one.access)
const asTwo = () => two.access
const asAdmin = (at?: TestService) => (at === stranger ? abroad.admin : admin)
const lists: List[] = [
  { path: '/auth/sessions', bearer: asOne, other: asTwo },
  { path: '/auth/activity', bearer: asOne, other: asTwo },
  { path: '/keys', bearer: asOne, other: asTwo, filter: 'status=active' },
  { path: '/keys/list', bearer: asOne, other: asTwo, filter: 'status=active' },
  { path: '/service-accounts', bearer: asOne, other: asTwo },
  { path: '/auth/grants', bearer: asOne, other: asTwo, isOfApps: true },
  { path: `/users/${WITH_RESETS}/grants`, bearer: asAdmin, isOfApps: true },
  { path: '/oauth/clients', bearer: asAdmin, filter: 'source=registered', isOfApps: true },
  { path: '/resources', bearer: asAdmin, isOfApps: true },
  { path: '/users', bearer: asAdmin },
  { path: `/users/${WITH_RESETS}/password-resets`, bearer: asAdmin },
  { path: `/users/${WITH_RESETS}/sessions`, bearer: asAdmin },
  { path: '/mails', bearer: asAdmin },
  { path: '/audit', bearer: asAdmin, filter: 'action=user.login' },
]

const get = (path: string, query: string, bearer: string, at = service) =>
  call(at, `GET ${path}?limit=1&${query}`, { bearer })

/** The ids on a page. */
function idsOf({ body }: Answer): string[] {
  const items: { id: string }[] = Array.isArray(body) ? body : body.items
  return items.map(({ id }) => id)
}

/** The cursor of the next page that an answer gives. */
function nextOf({ body, headers }: Answer): string {
  const link = /[?&]cursor=([^&>]+)/.exec(headers.get('link') ?? '')?.[1]
  const cursor: string | undefined = link ?? body.next_cursor
  if (!cursor) throw new Error('There is no next page')
  return cursor
}

test('every list that has a cursor in the document is tested here', async () => {
  const { paths } = (await call(service, 'GET /openapi.json')).body
  const paged = Object.entries<{ get?: { parameters?: { name: string }[] } }>(paths)
    .filter(([, { get }]) => get?.parameters?.some(({ name }) => name === 'cursor'))
    .map(([path]) => path.replace(/(.)\/$/, '$1'))
  expect(paged.sort()).toEqual(lists.map(({ path }) => path.replace(WITH_RESETS, '{id}')).sort())
})

describe.each(lists)('$path', ({ path, bearer, other, filter, isOfApps = false }) => {
  const first = (query = '') => get(path, query, bearer())

  test('gives a cursor that leads to the next page', async () => {
    const page = await first()
    expect(page.status).toBe(200)
    const next = await get(path, `cursor=${nextOf(page)}`, bearer())
    expect(next.status).toBe(200)
    expect(idsOf(next)).toHaveLength(1)
    expect(idsOf(next)).not.toEqual(idsOf(page))
  })

  const forgeries: [string, (cursor: string, id: string) => string][] = [
    ['empty', () => ''],
    ['garbage', () => 'garbage'],
    ['the id alone', (_, id) => id],
    ['the id without its dashes', (_, id) => id.replaceAll('-', '')],
    ['its authentication tag alone', (cursor) => cursor.slice(32)],
    ['in capitals', (cursor) => cursor.toUpperCase()],
    ['a character short', (cursor) => cursor.slice(0, -1)],
    ['a character longer', (cursor) => `${cursor}0`],
    ['altered in its id', (cursor) => flip(cursor, 31)],
    ['altered at its beginning', (cursor) => flip(cursor, 0)],
    ['altered in its authentication tag', (cursor) => flip(cursor, 32)],
    ['altered at its end', (cursor) => flip(cursor, cursor.length - 1)],
    ['with another authentication tag', (cursor) => cursor.slice(0, 32) + '0'.repeat(24)],
    ['with a NUL', (cursor) => `${cursor}\0`],
    ['with a space before', (cursor) => ` ${cursor}`],
    ['an end of a query', () => "' OR true --"],
    ['Unicode', () => '\u202e\u{1f511}'.repeat(14)],
    ['twice', (cursor) => `${cursor}${cursor}`],
    ['300 characters', () => 'a'.repeat(300)],
    ['8 KB', () => 'a'.repeat(8000)],
  ]
  test.each(forgeries)('refuses a cursor that is %s', async (_, forge) => {
    const page = await first()
    const [id = ''] = idsOf(page)
    await expectForged(await get(path, `cursor=${encodeURIComponent(forge(nextOf(page), id))}`, bearer()))
  })

  test('refuses a forged cursor after a genuine one in the same query', async () => {
    const cursor = nextOf(await first())
    await expectForged(await get(path, `cursor=${cursor}&cursor=${flip(cursor, 0)}`, bearer()))
  })

  if (!isOfApps)
    test('refuses a cursor that was made with another SECRET_KEY', async () => {
      const theirs = nextOf(await get(path, '', bearer(stranger), stranger))
      expect((await get(path, `cursor=${theirs}`, bearer(stranger), stranger)).status).toBe(200)
      await expectForged(await get(path, `cursor=${theirs}`, bearer()))
    })

  test('refuses a cursor of any other list', async () => {
    for (const list of lists) {
      const isSame = list.path.startsWith('/keys') && path.startsWith('/keys')
      if (list.path === path || isSame) continue
      const theirs = nextOf(await get(list.path, '', list.bearer()))
      await expectForged(await get(path, `cursor=${theirs}`, bearer()))
    }
  })

  test('refuses a cursor of another caller or of another filter of the same list', async () => {
    const mine = nextOf(await first())
    if (other) {
      const theirs = nextOf(await get(path, '', other()))
      expect((await get(path, `cursor=${theirs}`, other())).status).toBe(200)
      await expectForged(await get(path, `cursor=${theirs}`, bearer()))
    }
    if (!filter) return
    const narrowed = nextOf(await first(filter))
    expect((await first(`${filter}&cursor=${narrowed}`)).status).toBe(200)
    await expectForged(await first(`cursor=${narrowed}`))
    await expectForged(await first(`${filter}&cursor=${mine}`))
  })

  async function expectForged(answer: Answer): Promise<void> {
    expectProblem(answer, 'validation_failed')
    const [error] = answer.body.errors
    expect(error.path).toMatch(/^[?/]cursor$/)
    expect(answer.text.length).toBeLessThan(500)
    expect((await first()).status).toBe(200)
  }
})

const flip = (text: string, at: number) =>
  text.slice(0, at) + (text[at] === '0' ? '1' : '0') + text.slice(at + 1)
