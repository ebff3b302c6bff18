import { describe, expect, test } from 'bun:test'
import { findClientById } from '../../src/core/clients/queries.ts'
import { noteClientUse } from '../../src/core/clients/uses.ts'
import { type Call, call, newKey } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { addLoggedIn, addPerson } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import {
  addAppSession,
  addManySessions,
  longestList,
  registerApp,
  registerResource,
  scopesNow,
} from '../support/registered-apps.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const as = (route: string, options: Call = {}) => call(service, route, { bearer: admin.access, ...options })
const APP = {
  name: 'Notes',
  kind: 'public',
  redirect_uris: ['https://app.example.com/cb', 'http://127.0.0.1/cb', 'com.example.notes:/cb'],
  post_logout_redirect_uris: ['https://app.example.com/bye'],
  grants: ['authorization_code', 'refresh_token'],
  scopes: ['notes:read', 'latchkey:keys.read'],
  first_party: true,
}
const CONFIDENTIAL = { ...APP, kind: 'confidential' }
const KEY = {
  kty: 'EC',
  crv: 'P-256',
  x: 'f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU',
  y: 'x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0',
}
const SECRET = /^cs_[0-9A-Za-z]{49}$/
type Secret = { id: string; start: string; expires_at: string | null }

const eventsOf = async (target: string) => (await as(`GET /audit?target=${target}`)).body.items
const secretsOf = async (id: string): Promise<Secret[]> => (await as(`GET /oauth/clients/${id}`)).body.secrets

describe('a client', () => {
  test('is registered, shown, changed and deleted, with an audit row for each', async () => {
    const made = await as('POST /oauth/clients', { json: APP })
    const { id } = made.body
    expect([made.status, made.body]).toEqual([
      201,
      {
        ...APP,
        id: expect.any(String),
        client_id: id,
        source: 'registered',
        is_active: true,
        created_at: expect.any(String),
        created_by: admin.id,
        last_used_at: null,
        secrets: [],
      },
    ])
    expect((await as(`GET /oauth/clients/${id}`)).body).toEqual(made.body)
    expect((await as('GET /oauth/clients')).body.items[0]).toEqual(made.body)
    const change = {
      name: 'Tasks',
      redirect_uris: [],
      post_logout_redirect_uris: [],
      grants: ['urn:ietf:params:oauth:grant-type:device_code'],
      scopes: null,
      first_party: false,
      is_active: false,
    }
    const changed = await as(`PATCH /oauth/clients/${id}`, { json: change })
    expect([changed.status, changed.body]).toEqual([200, { ...made.body, ...change }])
    expect((await as(`PATCH /oauth/clients/${id}`, { json: change })).body).toEqual(changed.body)
    expect((await as(`DELETE /oauth/clients/${id}`)).status).toBe(204)
    for (const method of ['GET', 'DELETE'])
      expectProblem(await as(`${method} /oauth/clients/${id}`), 'not_found')
    const events = await eventsOf(id)
    expect(events.map(({ action }: { action: string }) => action)).toEqual([
      'client.deleted',
      'client.updated',
      'client.created',
    ])
    expect(events[1].details).toMatchObject({ before: { name: 'Notes' }, after: { name: 'Tasks' } })
  })

  test.each<[string, object, string]>([
    ['no redirect URI', { redirect_uris: [] }, '/redirect_uris'],
    ['a redirect URI with a fragment', { redirect_uris: ['https://a.example.com/#'] }, '/redirect_uris/0'],
    [
      'plain http',
      { redirect_uris: ['https://a.example.com/', 'http://a.example.com/'] },
      '/redirect_uris/1',
    ],
    [
      '21 redirect URIs',
      { redirect_uris: Array.from({ length: 21 }, (_, at) => `https://a.example.com/${at}`) },
      '/redirect_uris',
    ],
    ['501 characters', { redirect_uris: [`https://a.example.com/${'x'.repeat(479)}`] }, '/redirect_uris/0'],
    [
      'javascript: after a log-out',
      { post_logout_redirect_uris: ['javascript:alert(1)'] },
      '/post_logout_redirect_uris/0',
    ],
    ['no grant', { grants: [] }, '/grants'],
    ['refresh_token alone', { grants: ['refresh_token'] }, '/grants'],
    ['another grant', { grants: ['client_credentials'] }, '/grants/0'],
    ['a malformed scope', { scopes: ['Read'] }, '/scopes/0'],
    ['keys for a public client', { jwks: { keys: [KEY] } }, '/jwks'],
    ['the place of keys for a public client', { jwks_uri: 'https://a.example.com/jwks' }, '/jwks_uri'],
    ['a control character in its name', { name: 'a\nb' }, '/name'],
    ['another member', { client_id: 'x' }, '/client_id'],
  ])('is refused with %s', async (_, member, path) => {
    const answer = await as('POST /oauth/clients', { json: { ...APP, ...member } })
    expectProblem(answer, 'validation_failed')
    expect(answer.body.errors.map((error: { path: string }) => error.path)).toContain(path)
    if (path === '/client_id') return
    const { id } = await registerApp(service, admin.access)
    expectProblem(await as(`PATCH /oauth/clients/${id}`, { json: member }), 'validation_failed')
  })

  test('is listed by its source, in pages', async () => {
    const { id } = await registerApp(service, admin.access)
    await registerApp(service, admin.access)
    const [url, metadata] = ['https://app.example.com/oauth.json', Bun.randomUUIDv7()]
    await sql`INSERT INTO latchkey.oauth_clients (id, client_id, source, kind, name, redirect_uris, grants, created_at)
      VALUES (${metadata}, ${url}, 'metadata', 'public', 'App', '{https://app.example.com/cb}', '{authorization_code}', now())`
    const idsOf = async (query: string) => {
      const { items, next_cursor } = (await as(`GET /oauth/clients?${query}`)).body
      return { ids: items.map((item: { id: string }) => item.id), next_cursor }
    }
    expect((await idsOf('source=metadata')).ids).toEqual([metadata])
    expect((await idsOf('source=registered')).ids).not.toContain(metadata)
    const first = await idsOf('source=registered&limit=1')
    expect((await idsOf(`source=registered&limit=1&cursor=${first.next_cursor}`)).ids).toEqual([id])
    expectProblem(
      await as(`GET /oauth/clients?source=metadata&cursor=${first.next_cursor}`),
      'validation_failed',
    )
    expectProblem(await as('GET /oauth/clients?source=other'), 'validation_failed')

    // The rest is the app's own to say.
    expectProblem(await as(`PATCH /oauth/clients/${metadata}`, { json: { name: 'x' } }), 'conflict')
    const blocked = await as(`PATCH /oauth/clients/${metadata}`, { json: { is_active: false } })
    expect([blocked.status, blocked.body.client_id, blocked.body.is_active]).toEqual([200, url, false])
    await as(`DELETE /oauth/clients/${metadata}`)
  })

  test('answers problems by RFC 9457, unlike the endpoints of OAuth', async () => {
    const { id } = await registerApp(service, admin.access)
    expectProblem(await call(service, 'GET /oauth/clients'), 'missing_credential')
    expectProblem(await as('GET /oauth/clients/1'), 'not_found')
    expectProblem(
      await as('POST /oauth/clients', { raw: '{', headers: { 'content-type': 'application/json' } }),
      'malformed_json',
    )
    expectProblem(await as(`DELETE /oauth/clients/${id}/secrets/1`), 'not_found')
    for (const path of ['/oauth/clientsx', '/oauth/token/x'])
      expect((await as(`GET ${path}`)).headers.get('content-type')).toBe('application/json')
  })
})

describe('the keys of a client', () => {
  test('take the place of a secret, and of each other', async () => {
    const rowOf = async (id: string) => {
      const row = await findClientById(service.context.db, id)
      return row && { jwks: row.jwks, jwks_uri: row.jwksUri }
    }
    const keys = { keys: [{ ...KEY, kid: 'one', more: { nested: 1 } }] }
    const made = await as('POST /oauth/clients', { json: { ...CONFIDENTIAL, jwks: keys } })
    expect([made.status, made.body.secret, made.body.secrets]).toEqual([201, undefined, []])
    const { id } = made.body
    expect(await rowOf(id)).toEqual({ jwks: { keys: [{ ...KEY, kid: 'one' }] }, jwks_uri: null })
    const uri = 'https://app.example.com/jwks.json'
    await as(`PATCH /oauth/clients/${id}`, { json: { jwks_uri: uri } })
    expect(await rowOf(id)).toEqual({ jwks: null, jwks_uri: uri })
    await as(`PATCH /oauth/clients/${id}`, { json: { jwks: { keys: [KEY] } } })
    expect(await rowOf(id)).toEqual({ jwks: { keys: [KEY] }, jwks_uri: null })
    await as(`PATCH /oauth/clients/${id}`, { json: { jwks: null } })
    expect(await rowOf(id)).toEqual({ jwks: null, jwks_uri: null })
    const [event] = await eventsOf(id)
    expect([typeof event.details.before.jwks_sha256, event.details.after.jwks_sha256]).toEqual([
      'string',
      null,
    ])
  })

  test.each<[string, object]>([
    ['a private key', { jwks: { keys: [{ ...KEY, d: 'x' }] } }],
    ['a secret', { jwks: { keys: [{ kty: 'oct', k: 'x' }] } }],
    ['another kind', { jwks: { keys: [{ kty: 'constructor' }] } }],
    ['half a key', { jwks: { keys: [{ kty: 'EC', crv: 'P-256', x: KEY.x }] } }],
    ['a number', { jwks: { keys: [{ ...KEY, x: 1 }] } }],
    ['no keys', { jwks: { keys: [] } }],
    ['both', { jwks: { keys: [KEY] }, jwks_uri: 'https://a.example.com/jwks' }],
    ['http', { jwks_uri: 'http://a.example.com/jwks' }],
    ['another port', { jwks_uri: 'https://a.example.com:8443/jwks' }],
    ['a user name', { jwks_uri: 'https://user@a.example.com/jwks' }],
    ['a fragment', { jwks_uri: 'https://a.example.com/jwks#x' }],
    ['a query', { jwks_uri: 'https://a.example.com/jwks?app=1' }],
    ['an empty query', { jwks_uri: 'https://a.example.com/jwks?' }],
    ['the port that is meant anyway', { jwks_uri: 'https://a.example.com:443/jwks' }],
    ['no path', { jwks_uri: 'https://a.example.com' }],
    ['an address', { jwks_uri: 'https://192.0.2.1/jwks' }],
    ['a host without a dot', { jwks_uri: 'https://intranet/jwks' }],
    ['a dot segment', { jwks_uri: 'https://a.example.com/x/../jwks' }],
  ])('are refused: %s', async (_, keys) => {
    const refused = await as('POST /oauth/clients', { json: { ...CONFIDENTIAL, ...keys } })
    expectProblem(refused, 'validation_failed')
    expect(refused.body.errors[0].path).toStartWith('/jwks')
    // The control.
    const made = await as('POST /oauth/clients', {
      json: { ...CONFIDENTIAL, jwks_uri: 'https://a.example.com/jwks' },
    })
    expect(made.status).toBe(201)
  })
})

describe('the secrets of a confidential client', () => {
  test('are shown once, and stored as SHA-256', async () => {
    const made = await as('POST /oauth/clients', { json: CONFIDENTIAL })
    expect(made.body.secret).toMatch(SECRET)
    const { id, secret, secrets } = made.body
    expect(secrets).toEqual([
      {
        id: expect.any(String),
        start: secret.slice(0, 11),
        created_at: expect.any(String),
        expires_at: null,
        last_used_at: null,
      },
    ])
    const shown = await as(`GET /oauth/clients/${id}`)
    expect([shown.body.secret, shown.body.secrets]).toEqual([undefined, secrets])
    const [row] = await sql`SELECT hash FROM latchkey.oauth_client_secrets WHERE client_id = ${id}`
    expect(row?.hash.toString('hex')).toBe(new Bun.CryptoHasher('sha256').update(secret).digest('hex'))
    expect(JSON.stringify(await eventsOf(id))).not.toContain(secret)
  })

  test('overlap: at most two are live', async () => {
    const { id } = await registerApp(service, admin.access, { kind: 'confidential' })
    const [first] = await secretsOf(id)
    const before = Date.now()
    const added = await as(`POST /oauth/clients/${id}/secrets`, { json: {} })
    expect([added.status, added.body.secret]).toEqual([201, expect.stringMatching(SECRET)])
    const [newer, older] = await secretsOf(id)
    expect([newer?.expires_at, older?.id]).toEqual([null, first?.id as string])
    const end = Date.parse(older?.expires_at ?? '')
    expect(end).toBeGreaterThanOrEqual(before + 86_400_000)
    expect(end).toBeLessThan(before + 86_400_000 + 60_000)
    expectProblem(await as(`POST /oauth/clients/${id}/secrets`, { json: {} }), 'conflict')
    expect((await secretsOf(id)).length).toBe(2)
    // The overlap runs out.
    await sql`UPDATE latchkey.oauth_client_secrets SET expires_at = now() WHERE id = ${first?.id as string}`
    expect((await secretsOf(id)).map((each) => each.id)).toEqual([newer?.id as string])
    expectProblem(await as(`DELETE /oauth/clients/${id}/secrets/${first?.id}`), 'not_found')
    const last = await as(`POST /oauth/clients/${id}/secrets`, { json: { overlap_seconds: 0 } })
    expect([last.status, last.body.secrets]).toEqual([
      201,
      [expect.objectContaining({ start: last.body.secret.slice(0, 11) })],
    ])
    expect(await sql`SELECT id FROM latchkey.oauth_client_secrets WHERE client_id = ${id}`).toHaveLength(1)
  })

  test('show when they were last used, to the minute', async () => {
    const { id } = await registerApp(service, admin.access, { kind: 'confidential' })
    const { body } = await as(`POST /oauth/clients/${id}/secrets`, { json: {} })
    const [newer, older] = body.secrets as [Secret, Secret]
    const usesOf = async () => {
      const { last_used_at, secrets } = (await as(`GET /oauth/clients/${id}`)).body
      return [last_used_at, ...secrets.map((secret: { last_used_at: string | null }) => secret.last_used_at)]
    }
    expect(await usesOf()).toEqual([null, null, null])
    await noteClientUse(service.context, id, older.id)
    const first = await usesOf()
    expect(first).toEqual([expect.any(String), null, expect.any(String)])
    await noteClientUse(service.context, id, older.id)
    expect(await usesOf()).toEqual(first)
    const past = new Date(Date.now() - 61_000)
    await sql`UPDATE latchkey.oauth_clients SET last_used_at = ${past} WHERE id = ${id}`
    await noteClientUse(service.context, id, newer.id)
    const [ofClient, ...ofSecrets] = await usesOf()
    expect(Date.parse(ofClient)).toBeGreaterThan(past.getTime())
    expect(ofSecrets).toEqual([expect.any(String), first[2]])
  })

  test('of two requests at once for another secret one gets it', async () => {
    const { id } = await registerApp(service, admin.access, { kind: 'confidential' })
    const add = () => as(`POST /oauth/clients/${id}/secrets`, { json: {} })
    const statuses = (await Promise.all([add(), add(), add()])).map(({ status }) => status)
    expect(statuses.sort()).toEqual([201, 409, 409])
    expect(await secretsOf(id)).toHaveLength(2)
  })

  test('end at once, each by its own client alone, and a public client has none', async () => {
    const { id } = await registerApp(service, admin.access, { kind: 'confidential' })
    const other = await registerApp(service, admin.access, { kind: 'confidential' })
    const open = await registerApp(service, admin.access)
    const [secret] = await secretsOf(id)
    expectProblem(await as(`DELETE /oauth/clients/${other.id}/secrets/${secret?.id}`), 'not_found')
    expect(await secretsOf(id)).toHaveLength(1)
    const person = await addPerson(sql)
    const session = await addAppSession(
      service,
      sql,
      person.id,
      { id },
      await registerResource(service, admin.access),
    )
    expect((await as(`DELETE /oauth/clients/${id}/secrets/${secret?.id}`)).status).toBe(204)
    expectProblem(await as(`DELETE /oauth/clients/${id}/secrets/${secret?.id}`), 'not_found')
    expect(await secretsOf(id)).toEqual([])
    // The sessions go on.
    expect(await scopesNow(service, session.access)).toEqual(['read'])
    expectProblem(await as(`POST /oauth/clients/${open.id}/secrets`, { json: {} }), 'conflict')
    for (const seconds of [-1, 2_592_001, 1.5])
      expectProblem(
        await as(`POST /oauth/clients/${id}/secrets`, { json: { overlap_seconds: seconds } }),
        'validation_failed',
      )
    await as(`POST /oauth/clients/${id}/secrets`, { json: { overlap_seconds: 2_592_000 } })
    expect((await eventsOf(id)).map(({ action }: { action: string }) => action)).toEqual([
      'client.secret_created',
      'client.secret_ended',
      'client.created',
    ])
  })
})

describe('an admin alone', () => {
  test('reads and changes clients, by an own token, after a recent proof', async () => {
    const { id } = await registerApp(service, admin.access, { kind: 'confidential' })
    const [secret] = await secretsOf(id)
    const person = await addLoggedIn(service, sql, { scopes: ['latchkey:support', 'latchkey:users.write'] })
    const { key } = await newKey(service, admin.access, { scopes: ['latchkey:users.write'] })
    const changes: [string, Call][] = [
      ['POST /oauth/clients', { json: APP }],
      [`PATCH /oauth/clients/${id}`, { json: { name: 'x' } }],
      [`POST /oauth/clients/${id}/secrets`, { json: {} }],
      [`DELETE /oauth/clients/${id}/secrets/${secret?.id}`, {}],
      [`DELETE /oauth/clients/${id}`, {}],
    ]
    const reads: [string, Call][] = [
      ['GET /oauth/clients', {}],
      [`GET /oauth/clients/${id}`, {}],
    ]
    for (const [route, options] of [...changes, ...reads]) {
      expectProblem(await call(service, route, { ...options, bearer: person.access }), 'forbidden')
      expectProblem(await call(service, route, { ...options, apiKey: key }), 'wrong_credential_kind')
      expectProblem(await call(service, route, options), 'missing_credential')
    }
    const old = await addLoggedIn(service, sql, { role: 'admin' })
    await sql`UPDATE latchkey.sessions SET auth_time = now() - interval '11 min' WHERE user_id = ${old.id}`
    for (const [route, options] of changes)
      expectProblem(
        await call(service, route, { ...options, bearer: old.access }),
        'reauthentication_required',
      )
    for (const [route] of reads) expect((await call(service, route, { bearer: old.access })).status).toBe(200)
    expect(await secretsOf(id)).toEqual([secret as Secret])
  })

  test('is not a first-party app that acts for an admin', async () => {
    const app = await registerApp(service, admin.access, { first_party: true })
    const session = await addAppSession(
      service,
      sql,
      admin.id,
      app,
      await registerResource(service, admin.access),
    )
    expect(await scopesNow(service, session.access)).toEqual(['read'])
    expectProblem(
      await call(service, 'GET /oauth/clients', { bearer: session.access }),
      'wrong_credential_kind',
    )
  })
})

describe('the sessions of a client', () => {
  const world = async () => {
    const resource = await registerResource(service, admin.access)
    const [app, other] = [
      await registerApp(service, admin.access, { first_party: true }),
      await registerApp(service, admin.access),
    ]
    const people = [await addPerson(sql), await addPerson(sql)] as const
    const mine = [
      await addAppSession(service, sql, people[0].id, app, resource),
      await addAppSession(service, sql, people[1].id, app, resource),
      await addAppSession(service, sql, people[0].id, app, null),
    ]
    return { app, mine, ofOther: await addAppSession(service, sql, people[0].id, other, resource) }
  }
  const accepted = async (sessions: readonly { access: string }[]) => {
    const verdicts = sessions.map(async ({ access }) => (await scopesNow(service, access)) !== null)
    return Promise.all(verdicts)
  }

  test.each([
    ['disabled', 'PATCH', { json: { is_active: false } }],
    ['deleted', 'DELETE', {}],
  ] as const)('end at once, all of them, where it is %s', async (done, method, options) => {
    const { app, mine, ofOther } = await world()
    const all = [...mine, ofOther]
    expect(await accepted(all)).toEqual([true, true, true, true])
    expect((await as('GET /auth/me', { bearer: mine[2]?.access as string })).status).toBe(200)
    await as(`${method} /oauth/clients/${app.id}`, options)
    expect(await accepted(all)).toEqual([false, false, false, true])
    expectProblem(await as('GET /auth/me', { bearer: mine[2]?.access as string }), 'invalid_token')
    const ended = await sql`SELECT DISTINCT ended_reason FROM latchkey.sessions
      WHERE id = ANY (${mine.map(({ sessionId }) => sessionId)}) AND ended_at IS NOT NULL`
    expect(ended.map((row) => row.ended_reason)).toEqual([`client_${done}`])
    const grants = await sql`SELECT id FROM latchkey.oauth_grants WHERE client_id = ${app.id}`
    expect(grants).toHaveLength(done === 'disabled' ? 3 : 0)
    const [last] = await eventsOf(app.id)
    expect(last).toMatchObject(
      done === 'disabled'
        ? { action: 'session.ended', details: { reason: 'client_disabled', sessions: 3 } }
        : { action: 'client.deleted', details: { grants_ended: 3, sessions_ended: 3 } },
    )
    if (done === 'deleted') return
    await as(`PATCH /oauth/clients/${app.id}`, { json: { is_active: true } })
    expect(await accepted(all)).toEqual([false, false, false, true])
  })

  test('of which 3,000 end by a few statements, at most 2,000 rows of a table in a transaction', async () => {
    const { app } = await world()
    await addManySessions(sql, app.id, { grants: 3000, each: 1 })
    const statements = await service.locks.record(async () => {
      expect((await as(`DELETE /oauth/clients/${app.id}`)).status).toBe(204)
    })
    expect(statements.length).toBeLessThan(50)
    expect(longestList(statements)).toBe(2000)
    const { items } = (await as(`GET /audit?target=${app.id}`)).body
    expect(items.map(({ action }: { action: string }) => action)).toEqual([
      'client.deleted',
      'client.updated',
      'session.ended',
      'client.created',
    ])
    expect(items[0].details).toMatchObject({ grants_ended: 3003, sessions_ended: 3003 })
    const [left] = await sql`SELECT count(*)::int AS live FROM latchkey.sessions
      WHERE user_id IN (SELECT id FROM latchkey.users WHERE email LIKE ${`many-${app.id}-%`}) AND ended_at IS NULL`
    expect(left?.live).toBe(0)
  })

  test.each([
    ['disabling', 'PATCH', { json: { is_active: false } }, 200],
    ['deleting', 'DELETE', {}, 204],
  ] as const)(
    'are refused where the work of %s stops between two steps, and the same request ends the rest',
    async (_, method, options, status) => {
      const { app, mine } = await world()
      if (method === 'DELETE') await addManySessions(sql, app.id, { grants: 2000, each: 1, isFirst: true })
      const [held] = mine
      // Another transaction keeps a step waiting until it gives up.
      await sql.begin(async (tx) => {
        await tx`SELECT FROM latchkey.sessions WHERE id = ${held?.sessionId as string} FOR UPDATE`
        // On a busy machine the first step may be late by itself, and the request is sent again.
        await until(async () => {
          expectProblem(await as(`${method} /oauth/clients/${app.id}`, options), 'unavailable')
          return (await accepted(mine)).every((isAccepted) => !isAccepted)
        }, 'the first step is done')
      })
      const isOver = async () =>
        (await sql`SELECT ended_at FROM latchkey.sessions WHERE id = ${held?.sessionId as string}`)[0]
          ?.ended_at !== null
      expect(await isOver()).toBeFalse()
      expect((await as(`${method} /oauth/clients/${app.id}`, options)).status).toBe(status)
      expect([await isOver(), await accepted(mine)]).toEqual([true, [false, false, false]])
    },
  )

  test('do not live again where disabling it stopped between two steps, and it is enabled', async () => {
    const { app, mine } = await world()
    expect(await accepted(mine)).toEqual([true, true, true])
    // As the first step leaves it.
    await sql`UPDATE latchkey.oauth_clients SET is_active = false WHERE id = ${app.id}`
    await as(`PATCH /oauth/clients/${app.id}`, { json: { is_active: true } })
    expect(await accepted(mine)).toEqual([false, false, false])
    expect((await as(`GET /oauth/clients/${app.id}`)).body.is_active).toBeTrue()
  })
})

test('the commands list, make and delete clients', async () => {
  const env = { DATABASE_URL: service.databaseUrl, SECRET_KEY: service.config.secretKey?.reveal() ?? '' }
  const run = async (...argv: string[]) => {
    const { code, out, err } = await runInProcess([...argv, '--json'], { env })
    return code === 0 ? JSON.parse(out) : err
  }
  const uris = 'https://a.example.com/cb,com.example.a:/cb'
  const create = ['clients', 'create', '--name', 'CLI', '--kind', 'confidential', '--redirect-uris', uris]
  const made = await run(...create, '--scopes', 'read,write', '--grants', 'code,device')
  expect(made).toMatchObject({
    name: 'CLI',
    redirect_uris: uris.split(','),
    grants: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
    scopes: ['read', 'write'],
    first_party: false,
    created_by: null,
    secret: expect.stringMatching(SECRET),
  })
  const shown = await runInProcess(create, { env })
  expect(shown.out).toMatch(/client_secret: cs_\w{49}\n/)
  expect(await run(...create, '--grants', 'code,implicit')).toContain('grants')
  expect(
    (await run('clients', 'list', '--source', 'registered')).items.map(({ id }: { id: string }) => id),
  ).toContain(made.id)
  expect((await runInProcess(['clients', 'list'], { env })).out).toContain(made.id)
  expect(await run('clients', 'delete', made.client_id)).toEqual({ id: made.id, name: 'CLI' })
  expectProblem(await as(`GET /oauth/clients/${made.id}`), 'not_found')
  expect(await run('clients', 'delete', 'https://nobody.example.com/x')).toContain('nothing here')
  expect((await eventsOf(made.id))[0].actor).toEqual({ type: 'system', id: null })
})
