import { describe, expect, test } from 'bun:test'
import { type Call, call, newKey } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { addLoggedIn, addPerson } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { addAppSession, registerApp, registerResource, scopesNow } from '../support/registered-apps.ts'
import { startService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const as = (route: string, options: Call = {}) => call(service, route, { bearer: admin.access, ...options })
const NIL = '00000000-0000-0000-0000-000000000000'
const NOTES = {
  identifier: 'https://notes.example.com/mcp',
  name: 'Notes',
  slug: 'notes',
  scopes: [
    { name: 'notes:read', description: 'Read your notes' },
    { name: 'notes:export', description: 'Export all', grantable_by: 'ceiling' },
  ],
}
/** The newest events of the audit trail about something. */
const eventsOf = async (target: string) => (await as(`GET /audit?target=${target}`)).body.items

describe('a resource', () => {
  test('is registered, shown, changed and deleted, with an audit row for each', async () => {
    const made = await as('POST /resources', { json: NOTES })
    expect([made.status, made.body]).toEqual([
      201,
      {
        ...NOTES,
        id: expect.any(String),
        scopes: [{ ...NOTES.scopes[0], grantable_by: 'everyone' }, NOTES.scopes[1]],
        token_lifetime_seconds: null,
        is_active: true,
        is_own: false,
        created_at: expect.any(String),
        created_by: admin.id,
      },
    ])
    const { id } = made.body
    expect((await as(`GET /resources/${id}`)).body).toEqual(made.body)
    const change = { name: 'Tasks', slug: 'tasks', scopes: [], token_lifetime_seconds: 60, is_active: false }
    const changed = await as(`PATCH /resources/${id}`, { json: change })
    expect([changed.status, changed.body]).toEqual([200, { ...made.body, ...change }])
    expect((await as(`GET /resources/${id}`)).body).toEqual(changed.body)
    expect((await as(`PATCH /resources/${id}`, { json: change })).body).toEqual(changed.body)
    expect((await as(`DELETE /resources/${id}`)).status).toBe(204)
    for (const method of ['GET', 'DELETE']) expectProblem(await as(`${method} /resources/${id}`), 'not_found')
    expectProblem(await as(`PATCH /resources/${id}`, { json: {} }), 'not_found')
    const events = await eventsOf(id)
    // The change that changed nothing has none.
    expect(events.map(({ action }: { action: string }) => action)).toEqual([
      'resource.deleted',
      'resource.updated',
      'resource.created',
    ])
    expect(events[1].details).toMatchObject({ before: { slug: 'notes' }, after: { slug: 'tasks' } })
    expect(events[2]).toMatchObject({
      actor: { type: 'user', id: admin.id },
      details: { identifier: NOTES.identifier },
    })
  })

  test.each([
    ['https://a.example.com', true],
    ['https://a.example.com/', true],
    ['https://a.example.com:8443/mcp?x=1', true],
    ['http://localhost:3000/mcp', true],
    ['http://127.0.0.1', true],
    ['http://[::1]/mcp', true],
    ['http://a.example.com/mcp', false],
    ['http://localhost.example.com/', false],
    ['https://a.example.com/mcp#x', false],
    ['https://a.example.com/mcp#', false],
    ['https://user@a.example.com/', false],
    ['https://user:secret@a.example.com/', false],
    ['https://A.example.com/', false],
    ['HTTPS://a.example.com/', false],
    ['https:/a.example.com/', false],
    ['https://a.example.com\\@b.example.com/', false],
    ['https://a.example.com/ä', false],
    ['https://a.example.com/a b', false],
    ['urn:example:api', false],
    ['a.example.com', false],
    [`https://a.example.com/${'x'.repeat(478)}`, true],
    [`https://a.example.com/${'x'.repeat(479)}`, false],
  ])('has an identifier that is a URL: %p (%p)', async (identifier, isAllowed) => {
    const json = { ...NOTES, slug: 'identified', identifier }
    const made = await as('POST /resources', { json })
    if (!isAllowed) {
      expectProblem(made, 'validation_failed')
      expect(made.body.errors[0].path).toBe('/identifier')
      return
    }
    expect([made.status, made.body.identifier]).toEqual([201, identifier])
    await as(`DELETE /resources/${made.body.id}`)
  })

  test("takes no identifier of Latchkey's own, and no slug or identifier twice", async () => {
    const { publicUrl } = service.config
    const { identifier, slug, id } = await registerResource(service, admin.access)
    const own = ['', '/', '/latchkey', '/latchkey/x', '/latchkey?x', '/oauth/userinfo', '/oauth/userinfo/x']
    for (const taken of [...own.map((path) => publicUrl + path), service.config.jwtAudience, identifier]) {
      const json = { ...NOTES, slug: 'free', identifier: taken }
      expectProblem(await as('POST /resources', { json }), 'conflict')
    }
    for (const taken of ['latchkey', slug])
      expectProblem(await as('POST /resources', { json: { ...NOTES, slug: taken } }), 'conflict')
    const other = await registerResource(service, admin.access)
    for (const taken of ['latchkey', slug])
      expectProblem(await as(`PATCH /resources/${other.id}`, { json: { slug: taken } }), 'conflict')
    // The controls: what only begins alike, and its own slug.
    const near = await as('POST /resources', { json: { ...NOTES, identifier: `${publicUrl}/latchkeys` } })
    expect(near.status).toBe(201)
    expect((await as(`PATCH /resources/${id}`, { json: { slug } })).status).toBe(200)
    await as(`DELETE /resources/${near.body.id}`)
  })

  test.each([
    [[{ name: 'latchkey:verify', description: 'x' }]],
    [[{ name: 'openid', description: 'x' }]],
    [[{ name: 'offline_access', description: 'x' }]],
    [[{ name: 'Read', description: 'x' }]],
    [[{ name: 'a b', description: 'x' }]],
    [
      [
        { name: 'read', description: 'x' },
        { name: 'read', description: 'y' },
      ],
    ],
    [[{ name: 'read', description: '' }]],
    [[{ name: 'read' }]],
    [[{ name: 'read', description: 'x', grantable_by: 'admins' }]],
    [Array.from({ length: 51 }, (_, at) => ({ name: `s${at}`, description: 'x' }))],
  ])('refuses the scopes %j', async (scopes) => {
    const { id } = await registerResource(service, admin.access)
    expectProblem(await as('POST /resources', { json: { ...NOTES, scopes } }), 'validation_failed')
    expectProblem(await as(`PATCH /resources/${id}`, { json: { scopes } }), 'validation_failed')
  })

  test('keeps what it cannot change', async () => {
    const { id } = await registerResource(service, admin.access)
    for (const json of [
      { identifier: 'https://x.example.com' },
      { token_lifetime_seconds: 59 },
      { token_lifetime_seconds: 3601 },
      { slug: 'A' },
      { slug: '' },
    ])
      expectProblem(await as(`PATCH /resources/${id}`, { json }), 'validation_failed')
  })
})

describe("Latchkey's own resource", () => {
  test('stands at the end of the list, once, whatever the pages are', async () => {
    const seen: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const page = await as(`GET /resources?limit=2${cursor && `&cursor=${cursor}`}`)
      expect(page.body.items.length).toBeLessThanOrEqual(2)
      seen.push(...page.body.items.map(({ id }: { id: string }) => id))
      cursor = page.body.next_cursor
    }
    const { body } = await as('GET /resources')
    expect(body.items.map(({ id }: { id: string }) => id)).toEqual(seen)
    expect(seen.filter((id) => id === NIL)).toEqual([NIL])
    expect(body.items.at(-1)).toMatchObject({
      id: NIL,
      identifier: `${service.config.publicUrl}/latchkey`,
      slug: 'latchkey',
      is_own: true,
      created_at: null,
    })
    expect(body.items.at(-1).scopes).toContainEqual({
      name: 'latchkey:keys.write',
      description: expect.any(String),
      grantable_by: 'ceiling',
    })
    expect((await as(`GET /resources/${NIL}`)).body).toEqual(body.items.at(-1))
  })

  test('answers 409 to changes', async () => {
    expectProblem(await as(`PATCH /resources/${NIL}`, { json: { is_active: false } }), 'conflict')
    expectProblem(await as(`DELETE /resources/${NIL}`), 'conflict')
    const { body } = await as('GET /resources')
    expect(body.items.at(-1)).toMatchObject({ id: NIL, is_active: true })
  })
})

describe('an admin alone', () => {
  test('reads and changes resources, by an own token, after a recent proof', async () => {
    const { id } = await registerResource(service, admin.access)
    const person = await addLoggedIn(service, sql, { scopes: ['latchkey:support', 'latchkey:users.write'] })
    const { key } = await newKey(service, admin.access, { scopes: ['latchkey:users.write'] })
    const requests: [string, Call][] = [
      ['POST /resources', { json: NOTES }],
      [`PATCH /resources/${id}`, { json: { name: 'x' } }],
      [`DELETE /resources/${id}`, {}],
    ]
    for (const [route, options] of [
      ...requests,
      ['GET /resources', {}],
      [`GET /resources/${id}`, {}],
    ] as const) {
      expectProblem(await call(service, route, { ...options, bearer: person.access }), 'forbidden')
      expectProblem(await call(service, route, { ...options, apiKey: key }), 'wrong_credential_kind')
      expectProblem(await call(service, route, options), 'missing_credential')
    }
    const old = await addLoggedIn(service, sql, { role: 'admin' })
    await sql`UPDATE latchkey.sessions SET auth_time = now() - interval '11 min' WHERE user_id = ${old.id}`
    for (const [route, options] of requests)
      expectProblem(
        await call(service, route, { ...options, bearer: old.access }),
        'reauthentication_required',
      )
    expect((await call(service, 'GET /resources', { bearer: old.access })).status).toBe(200)
    // The control: nothing has changed it.
    expect((await as(`GET /resources/${id}`)).status).toBe(200)
  })
})

describe('the sessions of apps for a resource', () => {
  const world = async () => {
    const [one, other] = [
      await registerResource(service, admin.access),
      await registerResource(service, admin.access),
    ]
    const app = await registerApp(service, admin.access)
    const person = await addPerson(sql)
    return {
      one,
      ofOne: await addAppSession(service, sql, person.id, app, one),
      ofOther: await addAppSession(service, sql, person.id, app, other),
    }
  }
  const accepts = async (token: string) => (await scopesNow(service, token)) !== null
  const endsOf = async (id: string) =>
    (await sql`SELECT ended_at, ended_reason, grant_id FROM latchkey.sessions WHERE id = ${id}`)[0]

  test('end at once where it is disabled, for good, and the grants stay', async () => {
    const { one, ofOne, ofOther } = await world()
    expect([await accepts(ofOne.access), await accepts(ofOther.access)]).toEqual([true, true])
    await as(`PATCH /resources/${one.id}`, { json: { is_active: false } })
    expect([await accepts(ofOne.access), await accepts(ofOther.access)]).toEqual([false, true])
    expect(await endsOf(ofOne.sessionId)).toMatchObject({
      ended_at: expect.any(Date),
      ended_reason: 'resource_disabled',
      grant_id: ofOne.grantId,
    })
    expect((await eventsOf(one.id))[0]).toMatchObject({
      action: 'session.ended',
      details: { reason: 'resource_disabled', sessions: 1 },
    })
    await as(`PATCH /resources/${one.id}`, { json: { is_active: true } })
    expect(await accepts(ofOne.access)).toBeFalse()
  })

  test('end at once where it is deleted, with the grants', async () => {
    const { one, ofOne, ofOther } = await world()
    expect([await accepts(ofOne.access), await accepts(ofOther.access)]).toEqual([true, true])
    await as(`DELETE /resources/${one.id}`)
    expect([await accepts(ofOne.access), await accepts(ofOther.access)]).toEqual([false, true])
    expect(await endsOf(ofOne.sessionId)).toMatchObject({ ended_at: expect.any(Date), grant_id: null })
    const grants =
      await sql`SELECT id FROM latchkey.oauth_grants WHERE id IN (${ofOne.grantId}, ${ofOther.grantId})`
    expect(grants.map(({ id }) => id)).toEqual([ofOther.grantId])
    expect((await eventsOf(one.id))[0].details).toMatchObject({ grants_ended: 1, sessions_ended: 1 })
  })

  test('a scope that it no longer has is gone from their tokens', async () => {
    const { one, ofOne } = await world()
    expect(await scopesNow(service, ofOne.access)).toEqual(['read'])
    await as(`PATCH /resources/${one.id}`, { json: { scopes: [] } })
    expect(await scopesNow(service, ofOne.access)).toEqual([])
  })
})

describe('a start', () => {
  const restart = (options: Parameters<typeof startService>[0]) => startService(options, service)

  test('with ALGORITHM=HS256 fails while something is registered, and otherwise has no such routes', async () => {
    const { id } = await registerResource(service, admin.access)
    await sql`DELETE FROM latchkey.oauth_clients`
    await expect(restart({ algorithm: 'HS256' })).rejects.toThrow(/0 clients and [1-9]\d* resources/)
    await sql`DELETE FROM latchkey.resources`
    expectProblem(await as(`GET /resources/${id}`), 'not_found')
    const app = await registerApp(service, admin.access)
    await expect(restart({ algorithm: 'HS256' })).rejects.toThrow('1 clients and 0 resources')
    await as(`DELETE /oauth/clients/${app.id}`)
    // The client of the API documentation is built in, and no reason.
    await sql`INSERT INTO latchkey.oauth_clients (id, client_id, source, kind, name, redirect_uris, grants, created_at)
      VALUES (gen_random_uuid(), 'latchkey-docs', 'registered', 'public', 'API documentation', '{}', '{}', now())`
    const plain = await restart({ algorithm: 'HS256' })
    try {
      for (const route of ['GET /resources', 'POST /resources', `GET /oauth/clients/${app.id}`])
        expect((await call(plain, route)).status).toBe(404)
      expect((await call(plain, 'GET /users')).status).toBe(401)
      const { paths } = (await call(plain, 'GET /openapi.json')).body
      expect(Object.keys(paths).filter((path) => /resources|clients/.test(path))).toEqual([])
    } finally {
      await plain.stop()
    }
  })

  test('fails where JWT_AUDIENCE or PUBLIC_URL is the identifier of a resource', async () => {
    const { identifier } = await registerResource(service, admin.access)
    await expect(restart({ jwtAudience: identifier })).rejects.toThrow(`JWT_AUDIENCE makes ${identifier}`)
    await expect(restart({ publicUrl: identifier })).rejects.toThrow(`PUBLIC_URL makes ${identifier}`)
    const { publicUrl } = service.config
    for (const own of [`${publicUrl}/latchkey`, `${publicUrl}/oauth/userinfo`])
      await expect(restart({ publicUrl, jwtAudience: own })).rejects.toThrow(`JWT_AUDIENCE is ${own}`)
    const other = await restart({ jwtAudience: `${identifier}/other` })
    await other.stop()
  })
})

test('the commands list, make and delete resources', async () => {
  const env = { DATABASE_URL: service.databaseUrl, SECRET_KEY: service.config.secretKey?.reveal() ?? '' }
  const run = async (...argv: string[]) => {
    const { code, out, err } = await runInProcess([...argv, '--json'], { env })
    return code === 0 ? JSON.parse(out) : err
  }
  const create = ['resources', 'create', '--identifier', 'https://cli.example.com/mcp', '--slug', 'cli']
  const made = await run(
    ...create,
    '--name',
    'CLI',
    '--scopes',
    'a=Do a; b',
    '--ceiling-scopes',
    'c=Do c',
    '--token-lifetime-seconds',
    '90',
  )
  expect(made).toMatchObject({
    slug: 'cli',
    token_lifetime_seconds: 90,
    scopes: [
      { name: 'a', description: 'Do a', grantable_by: 'everyone' },
      { name: 'b', description: 'b', grantable_by: 'everyone' },
      { name: 'c', description: 'Do c', grantable_by: 'ceiling' },
    ],
  })
  expect(await run('resources', 'create', '--identifier', 'ftp://x', '--slug', 'x', '--name', 'x')).toContain(
    'https URL',
  )
  expect((await run('resources', 'list')).items.map(({ slug }: { slug: string }) => slug)).toContain('cli')
  const table = await runInProcess(['resources', 'list'], { env })
  expect(table.out).toContain('https://cli.example.com/mcp')
  expect(await run('resources', 'delete', 'latchkey')).toContain('does not change')
  expect(await run('resources', 'delete', 'cli')).toEqual({ id: made.id, slug: 'cli' })
  expectProblem(await as(`GET /resources/${made.id}`), 'not_found')
  expect((await eventsOf(made.id))[0].actor).toEqual({ type: 'system', id: null })
})
