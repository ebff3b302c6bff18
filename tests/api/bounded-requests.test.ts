import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { makeApiKey } from '../../src/lib/tokens.ts'
import { call } from '../support/client.ts'
import { newClient } from '../support/oauth.ts'
import { addLoggedIn, PASSWORD } from '../support/people.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const MANY = 200
/** Statements that come on top: what a server writes after any request, and the look for a next page. */
const MORE_STATEMENTS = 4

const service = useService({ apiKeysPerOwner: 1000, adminResetsAdmin: true })
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))

/** Adds a user with so many of everything: keys that one key made, service accounts with a key each, sessions, resets. */
async function addWorld(count: number) {
  const person = await addLoggedIn(service, sql)
  const { id: account } = await newClient(service, person.access)
  const { body: maker } = await call(service, 'POST /keys', {
    bearer: person.access,
    json: { name: 'maker' },
  })
  const { id } = person
  await sql`INSERT INTO latchkey.service_accounts (id, name, scopes, created_by, created_at)
    SELECT gen_random_uuid(), 'n' || n, '{}', ${id}, now() FROM generate_series(1, ${count}) n`
  await sql`INSERT INTO latchkey.account_managers (id, service_account_id, user_id, created_at)
    SELECT gen_random_uuid(), id, created_by, now() FROM latchkey.service_accounts
    WHERE created_by IS NOT NULL ON CONFLICT DO NOTHING`
  await sql`INSERT INTO latchkey.api_keys (id, user_id, scopes, created_at, created_by)
    SELECT gen_random_uuid(), ${id}, '{}', now(), ${maker.id} FROM generate_series(1, ${count}) n`
  await sql`INSERT INTO latchkey.api_keys (id, service_account_id, scopes, created_at)
    SELECT gen_random_uuid(), ${account}, '{}', now() FROM generate_series(1, ${count}) n`
  await sql`INSERT INTO latchkey.api_keys (id, service_account_id, scopes, created_at)
    SELECT gen_random_uuid(), a.id, '{}', now() FROM latchkey.service_accounts a WHERE a.created_by = ${id}`
  await sql`INSERT INTO latchkey.api_key_secrets (id, key_id, hash, start, created_at)
    SELECT gen_random_uuid(), id, sha256(id::text::bytea), 'sk_AbCdEfGh', created_at FROM latchkey.api_keys key
    WHERE NOT EXISTS (SELECT FROM latchkey.api_key_secrets WHERE key_id = key.id)`
  await sql`INSERT INTO latchkey.sessions
      (id, user_id, salt, created_at, rotated_at, idle_expires_at, expires_at, generation)
    SELECT gen_random_uuid(), ${id}, uuid_send(gen_random_uuid()), now(), now(), now() + interval '1 d',
      now() + interval '1 d', 0
    FROM generate_series(1, ${count}) n`
  await sql`INSERT INTO latchkey.one_time_tokens (id, user_id, purpose, created_at, expires_at)
    SELECT gen_random_uuid(), ${id}, 'reset', now(), now() + interval '1 h' FROM generate_series(1, ${count}) n`
  await sql`INSERT INTO latchkey.resources (id, identifier, slug, name, scopes, created_at)
    SELECT gen, 'https://' || gen || '.example.com', gen, 'n', '[]', now()
    FROM (SELECT gen_random_uuid() gen FROM generate_series(1, ${count})) made`
  await sql`INSERT INTO latchkey.oauth_clients (id, client_id, source, kind, name, redirect_uris, grants, created_at)
    SELECT gen, gen, 'registered', 'confidential', 'n', '{https://app.example.com/callback}', '{authorization_code}', now()
    FROM (SELECT gen_random_uuid() gen FROM generate_series(1, ${count})) made`
  await sql`INSERT INTO latchkey.oauth_client_secrets (id, client_id, hash, start, created_at)
    SELECT gen_random_uuid(), id, sha256(id::text::bytea), 'cs_', created_at FROM latchkey.oauth_clients client
    WHERE NOT EXISTS (SELECT FROM latchkey.oauth_client_secrets WHERE client_id = client.id)`
  await sql`INSERT INTO latchkey.oauth_grants
      (id, user_id, client_id, audience, resource_id, scopes, first_allowed_at, last_allowed_at)
    SELECT gen_random_uuid(), ${id}, c.id, 'resource', r.id, '{}', now(), now()
    FROM (SELECT id, row_number() OVER () n FROM latchkey.oauth_clients) c
    JOIN (SELECT id, row_number() OVER () n FROM latchkey.resources) r USING (n)
    WHERE n <= ${count}`
  await sql`INSERT INTO latchkey.users (id, email, created_at)
    SELECT gen_random_uuid(), ${id} || n || '@example.com', now() FROM generate_series(1, ${count}) n`
  return { count, person, account, maker: maker.id as string }
}
type World = Awaited<ReturnType<typeof addWorld>>

type Request = { name: string; ask(world: World): [route: string, options: Parameters<typeof call>[2]] }
const own = (route: (world: World) => string, json?: (world: World) => unknown): Request => ({
  name: route({ person: { id: ':id' }, account: ':account', maker: ':maker' } as World),
  ask: (world) => [route(world), { bearer: world.person.access, json: json?.(world) }],
})
const asAdmin = (route: (world: World) => string, json?: (world: World) => unknown): Request => ({
  name: `${own(route).name}, by an admin`,
  ask: (world) => [route(world), { bearer: admin.access, json: json?.(world) }],
})

const lists: Request[] = [
  own(() => 'GET /keys'),
  own(() => 'GET /keys/list'),
  own((w) => `GET /keys?service_account_id=${w.account}`),
  own(() => 'GET /auth/sessions'),
  own(() => 'GET /auth/activity'),
  own(() => 'GET /service-accounts'),
  asAdmin((w) => `GET /keys?user_id=${w.person.id}`),
  asAdmin(() => 'GET /keys?all=true'),
  asAdmin(() => 'GET /keys?all=true&query=nothing'),
  asAdmin(() => 'GET /users'),
  asAdmin((w) => `GET /users?query=${w.person.id}`),
  asAdmin((w) => `GET /users/${w.person.id}/password-resets`),
  asAdmin((w) => `GET /users/${w.person.id}/sessions`),
  asAdmin((w) => `GET /audit?target=${w.person.id}`),
  asAdmin(() => 'GET /audit'),
  asAdmin(() => 'GET /mails'),
  asAdmin(() => 'GET /resources'),
  asAdmin(() => 'GET /oauth/clients'),
  own(() => 'GET /auth/grants'),
  asAdmin((w) => `GET /users/${w.person.id}/grants`),
]

/** In the order in which the requests are sent. The last ones disable and delete the person. */
const changes: Request[] = [
  own(
    () => 'POST /keys/revoke',
    (w) => ({ user_id: w.person.id, created_before: '2100-01-01T00:00:00Z', dry_run: true }),
  ),
  own(
    () => 'POST /keys/revoke',
    (w) => ({ service_account_id: w.account }),
  ),
  own((w) => `DELETE /keys/${w.maker}?created=true`),
  own(
    () => 'POST /auth/password',
    () => ({ current_password: PASSWORD, new_password: 'a-new-horse-battery', revoke_keys: true }),
  ),
  asAdmin(
    (w) => `PATCH /users/${w.person.id}`,
    () => ({ is_active: false }),
  ),
  asAdmin(
    (w) => `PATCH /users/${w.person.id}`,
    () => ({ is_active: true }),
  ),
  asAdmin(
    (w) => `PATCH /users/${w.person.id}?service_accounts=disable`,
    () => ({ is_active: false }),
  ),
  asAdmin((w) => `POST /users/${w.person.id}/logout`),
  asAdmin((w) => `DELETE /service-accounts/${w.account}`),
  asAdmin((w) => `DELETE /users/${w.person.id}?service_accounts=disable`),
]

/** The number of statements of a request, and the greatest number of parameters of one statement. */
async function cost(world: World, { ask }: Request) {
  const [route, options] = ask(world)
  let status = 0
  const statements = await service.locks.record(async () => {
    ;({ status } = await call(service, route, options))
  })
  return {
    status,
    statements: statements.length,
    parameters: Math.max(0, ...statements.map(({ params }) => params.length)),
  }
}

const one = prepare(() => addWorld(1))
const many = prepare(() => addWorld(MANY))

async function expectSame(request: Request) {
  const [small, large] = [await cost(one, request), await cost(many, request)]
  expect([small.status, large.status].every((status) => status < 300)).toBe(true)
  expect(large.statements).toBeLessThanOrEqual(small.statements + MORE_STATEMENTS)
  expect(large.parameters).toBeLessThanOrEqual(small.parameters + MORE_STATEMENTS)
}

describe(`a request needs as many statements and parameters for ${MANY} rows as for one:`, () => {
  test.each(lists)('$name', expectSame)
  test.each(changes)('$name', expectSame)
})

test('every list that has a cursor in the document is tested here', async () => {
  const { paths } = (await call(service, 'GET /openapi.json')).body
  const paged = Object.entries<{ get?: { parameters?: { name: string }[] } }>(paths)
    .filter(([, { get }]) => get?.parameters?.some(({ name }) => name === 'cursor'))
    .map(([path]) => path.replace(/(.)\/$/, '$1').replace(/\{\w+\}/g, ':id'))
  expect(paged.length).toBeGreaterThan(5)
  const tested = lists.map(({ name }) => /^GET ([^?,]+)/.exec(name)?.[1] ?? '')
  expect(new Set(paged)).toEqual(new Set(tested))
})

test('the control: a request with a statement for each item is found (a batch to verify, of a hundred at most)', async () => {
  const batch = asAdmin(
    () => 'POST /keys/verify-batch',
    ({ count }) => ({
      keys: Array.from({ length: Math.min(count, 100) }, () => ({ key: makeApiKey('sk_') })),
    }),
  )
  const [small, large] = [await cost(one, batch), await cost(many, batch)]
  expect([small.status, large.status]).toEqual([200, 200])
  expect(large.statements).toBeGreaterThan(small.statements + MORE_STATEMENTS)
})
