import { describe, expect, test } from 'bun:test'
import { writeUsage } from '../../src/core/usage/usage.ts'
import { call, newKey } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { addLoggedIn, addPerson, beginSession } from '../support/people.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const UNKNOWN_ID = '01890a5d-ac96-774b-bcce-b302099a8057'
const SLOW_MS = 240_000
const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const user = prepare(() => addLoggedIn(service, sql))

const run = (words: readonly string[], input = '') =>
  runInProcess(words, {
    env: { DATABASE_URL: service.databaseUrl, SECRET_KEY: service.config.secretKey?.reveal() ?? '' },
    input,
  })
/** The result of a command that has to succeed. */
const json = async (words: readonly string[], input = '') => {
  const { code, out, err } = await run([...words, '--json'], input)
  expect([words, code, err]).toEqual([words, 0, ''])
  return JSON.parse(out)
}
const fails = async (words: readonly string[], message: string, input = '') => {
  const { code, out, err } = await run(words, input)
  expect([words, code, out]).toEqual([words, 1, ''])
  expect(err.toLowerCase()).toContain(message)
}

describe('keys', () => {
  test(
    'are shown whole, with the name of their owner',
    async () => {
      const { id } = await newKey(service, user.access, { name: 'deploy', scopes: 'read' })
      const asked = (await call(service, `GET /keys/${id}`, { bearer: user.access })).body
      const owner = { type: 'user', id: user.id, label: user.email }
      expect(await json(['keys', 'show', id])).toEqual({ ...asked, owner })
      const { out } = await run(['keys', 'show', id])
      expect(out).toMatch(new RegExp(`owner +user ${user.email} \\(${user.id}\\)`))
      expect((await run(['keys', 'list', '--user', user.email])).out).toContain(user.email)
      await fails(['keys', 'show', UNKNOWN_ID], 'nothing here')
    },
    SLOW_MS,
  )

  test(
    'have their uses and refusals listed',
    async () => {
      const { id, key } = await newKey(service, user.access, {
        scopes: 'read',
        allowed_ips: ['192.0.2.0/24'],
      })
      const asker = (await newKey(service, admin.access, { scopes: 'latchkey:verify' })).key
      const verify = (ip: string) => call(service, 'POST /keys/verify', { apiKey: asker, json: { key, ip } })
      expect((await run(['keys', 'usage', id])).out).toBe('It was not used.\n')
      expect((await run(['keys', 'refusals', id])).out).toBe('It was not refused.\n')
      for (const ip of ['192.0.2.1', '192.0.2.1', '203.0.113.9']) await verify(ip)
      await writeUsage(service.context)
      const { items } = await json(['keys', 'usage', id, '--by', 'day'])
      const counts = items.map(({ outcome, count }: { outcome: string; count: number }) => [outcome, count])
      expect(Object.fromEntries(counts)).toEqual({ VALID: 2, IP_NOT_ALLOWED: 1 })
      expect(
        (await json(['keys', 'usage', id, '--to', '2020-01-02T00:00:00Z', '--from', '2020-01-01T00:00:00Z']))
          .items,
      ).toEqual([])
      expect((await json(['keys', 'refusals', id])).items).toMatchObject([
        { outcome: 'IP_NOT_ALLOWED', ip: '203.0.113.9', count: 1 },
      ])
      expect((await run(['keys', 'refusals', id])).out).toContain('203.0.113.9')
      for (const noun of ['usage', 'refusals']) await fails(['keys', noun, UNKNOWN_ID], 'nothing here')
    },
    SLOW_MS,
  )

  test(
    'are found by the key, its hash or its beginning, and the key is on no command line',
    async () => {
      const { id, key } = await newKey(service, user.access, { name: 'leaked' })
      const hash = Buffer.from(Bun.SHA256.hash(key) as Uint8Array).toString('hex')
      const start = (await call(service, `GET /keys/${id}`, { bearer: user.access })).body.start
      const lookup = async (words: string[], input = '') =>
        (await json(['keys', 'lookup', ...words], input)).items
      for (const items of [
        await lookup([], `${key}\n`),
        await lookup(['--hash', hash]),
        await lookup(['--start', start]),
      ])
        expect(items).toMatchObject([{ id, owner: { label: user.email }, matched: { state: 'current' } }])
      const none = await run(['keys', 'lookup'], 'sk_unknown')
      expect([none.code, none.out]).toEqual([1, 'No such key.\n'])
      await fails(['keys', 'lookup'], 'no key on standard input')
      await fails(['keys', 'lookup', '--hash', hash, '--start', start], 'exclude each other')
      await fails(['keys', 'lookup', '--hash', 'xyz'], 'hash')
      const rows = await sql`SELECT actor_type FROM latchkey.audit_events WHERE action = 'key.looked_up'`
      expect(rows.map(({ actor_type }) => actor_type)).toEqual(['system', 'system', 'system', 'system'])
    },
    SLOW_MS,
  )

  test(
    'that are verified name their owner',
    async () => {
      const { key } = await newKey(service, user.access, { scopes: 'read' })
      expect((await run(['keys', 'verify'], key)).out).toContain(`Owner: user ${user.email}`)
    },
    SLOW_MS,
  )
})

test(
  'service accounts are made, listed, shown, changed, managed and deleted',
  async () => {
    const words = ['service-accounts']
    const made = await json([
      ...[...words, 'create', '--name', 'Acme', '--scopes', 'read,write', '--external-id', 'cust-7'],
      ...['--manager', user.email],
    ])
    const managers = [{ type: 'user', id: user.id, label: user.email }]
    expect(made).toMatchObject({ name: 'Acme', scopes: ['read', 'write'], external_id: 'cust-7', managers })
    const { id } = made
    // The manager manages it by the API, and its keys hold what it holds.
    const key = await call(service, 'POST /keys', {
      bearer: user.access,
      json: { service_account_id: id, scopes: 'read' },
    })
    expect(key.status).toBe(201)
    for (const which of [id, 'cust-7']) expect(await json([...words, 'show', which])).toEqual(made)
    expect((await run([...words, 'show', 'cust-7'])).out).toContain(user.email)
    expect((await json([...words, 'list', '--query', 'acm'])).items).toMatchObject([{ id }])
    expect((await run([...words, 'list'])).out).toContain('cust-7')
    expect((await run(['keys', 'list', '--service-account', id])).out).toContain('Acme')

    await json([...words, 'update', 'cust-7', '--name', 'Acme Inc', '--scopes', 'read', '--disable'])
    expect(await json([...words, 'show', id])).toMatchObject({
      name: 'Acme Inc',
      scopes: ['read'],
      is_active: false,
    })
    expect((await call(service, 'GET /protected/any', { apiKey: key.body.key })).status).toBe(401)
    await json([...words, 'update', id, '--enable', '--external-id', ''])
    expect(await json([...words, 'show', id])).toMatchObject({ is_active: true, external_id: null })
    await fails([...words, 'update', id, '--enable', '--disable'], 'exclude each other')
    await fails([...words, 'update', id], 'what is to change')
    await fails([...words, 'update', id, '--scopes', 'Read'], 'scope')

    const other = await addPerson(sql)
    const robot = (await json([...words, 'create', '--name', 'robot'])).id
    expect((await run([...words, 'managers', robot])).out).toContain("the admins'")
    const add = ['--add', other.email, '--add-service-account', robot]
    const { items } = await json([...words, 'managers', id, ...add, '--remove', user.email])
    expect(items.map(({ label }: { label: string }) => label).sort()).toEqual([other.email, 'robot'].sort())
    expect((await call(service, `GET /service-accounts/${id}`, { bearer: user.access })).status).toBe(404)
    // Unlike a person, who manages it, the operator takes the last one away, as an admin does.
    await json([...words, 'managers', id, '--remove', robot])
    expect((await json([...words, 'managers', id, '--remove', other.email])).items).toEqual([])
    await fails([...words, 'managers', id, '--add', 'nobody@example.com'], 'no such user')

    await json([...words, 'delete', id])
    await fails([...words, 'show', id], 'nothing here')
    await fails([...words, 'show', 'cust-7'], 'nothing here')
    const events = await sql`SELECT action, actor_type FROM latchkey.audit_events WHERE target_id = ${id}`
    const actions = events.map(({ action }) => action)
    for (const action of [
      'created',
      'updated',
      'disabled',
      'enabled',
      'manager_added',
      'manager_removed',
      'deleted',
    ])
      expect(actions).toContain(`service_account.${action}`)
    expect(new Set(events.map(({ actor_type }) => actor_type))).toEqual(new Set(['system']))
  },
  SLOW_MS,
)

test(
  'users have their sessions listed, and are deleted',
  async () => {
    const person = await addLoggedIn(service, sql)
    await beginSession(service, person)
    const { items } = await json(['users', 'sessions', person.email])
    expect(items).toHaveLength(2)
    expect(items[0]).toMatchObject({ kind: 'api', amr: ['pwd'] })
    expect((await run(['users', 'sessions', person.id])).out).toContain(items[1].id)
    const account = { name: 'theirs', scopes: ['read'] }
    const { id } = (await call(service, 'POST /service-accounts', { bearer: person.access, json: account }))
      .body
    const { key } = await newKey(service, person.access)
    const deleted = await json(['users', 'delete', person.email, '--disable-service-accounts'])
    expect(deleted).toMatchObject({ id: person.id, service_accounts: [{ id, name: 'theirs' }] })
    expect((await call(service, 'GET /auth/me', { bearer: person.access })).status).toBe(401)
    expect((await call(service, 'GET /protected/any', { apiKey: key })).status).toBe(401)
    expect(await json(['service-accounts', 'show', id])).toMatchObject({ is_active: false, managers: [] })
    for (const noun of ['show', 'sessions', 'delete'])
      await fails(['users', noun, person.email], 'no such user')
    expect((await run(['users', 'sessions', (await addPerson(sql)).email])).out).toBe('No live sessions.\n')
  },
  SLOW_MS,
)

test(
  'the audit trail is listed by its filters, in pages',
  async () => {
    const { id } = await newKey(service, user.access)
    await call(service, `DELETE /keys/${id}`, { bearer: user.access })
    const list = async (words: string[]) => json(['audit', 'list', ...words])
    const actionsOf = ({ items }: { items: { action: string }[] }) => items.map(({ action }) => action)
    expect(actionsOf(await list(['--target', id]))).toEqual(['key.revoked', 'key.created'])
    expect(actionsOf(await list(['--target', id, '--action', 'key.created', '--actor', user.id]))).toEqual([
      'key.created',
    ])
    expect(actionsOf(await list(['--target', id, '--outcome', 'refused']))).toEqual([])
    expect(actionsOf(await list(['--target', id, '--to', '2020-01-01T00:00:00Z']))).toEqual([])
    const first = await list(['--target', id, '--limit', '1'])
    expect(actionsOf(await list(['--target', id, '--limit', '1', '--cursor', first.next_cursor]))).toEqual([
      'key.created',
    ])
    const { out } = await run(['audit', 'list', '--target', id, '--limit', '1'])
    expect(out).toContain('key.revoked')
    expect(out).toContain('There are more: --cursor ')
    await fails(['audit', 'list', '--actor', 'nobody'], 'actor')
  },
  SLOW_MS,
)

describe('a mistyped word gets a question', () => {
  test.each([
    [['kyes', 'list'], 'did you mean "keys list"?'],
    [['keys', 'lst'], 'did you mean "keys list"?'],
    [['user', 'lits'], 'did you mean "users list"?'],
    [['service-account', 'list'], 'did you mean "service-accounts list"?'],
    [['serv'], 'did you mean "serve"?'],
    [['uesrs'], 'did you mean "users"?'],
    [['keys', 'list', '--limt', '5'], 'did you mean --limit?'],
    [['keys', 'list', '--jsno'], 'did you mean --json?'],
    [['keys', 'create', '--external_id=x'], 'did you mean --external-id?'],
  ])('%p', async (words, question) => {
    const { code, out, err } = await run(words)
    expect([code, out]).toEqual([2, ''])
    expect(err).toContain(question)
  })

  test.each([[['nonsense']], [['keys', 'nonsense']], [['keys', 'list', '--nonsense']], [['users']]])(
    '%p is close to nothing',
    async (words) => {
      const { code, err } = await run(words)
      expect(code).toBe(2)
      expect(err).not.toContain('did you mean')
    },
  )
})
