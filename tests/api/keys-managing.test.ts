import { describe, expect, test } from 'bun:test'
import { newKey, newPerson } from '../support/client.ts'
import { call } from '../support/described.ts'
import { expectProblem } from '../support/problem.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const READ = 'latchkey:keys.read'
const WRITE = 'latchkey:keys.write'

const service = useService()
const sql = useSql(service)
const owner = prepare(() => newPerson(service))
const stranger = prepare(() => newPerson(service))

type ListedKey = { id: string }

/** A key that manages keys, made by the owner. */
const newManager = (json: Record<string, unknown> = {}, who = owner) =>
  newKey(service, who.access, { scopes: ['read', READ, WRITE], ...json })
const asKey = (key: string, route: string, json?: unknown) => call(service, route, { apiKey: key, json })
const works = async (key: string) => (await asKey(key, 'GET /protected/any')).status === 200
const listedTo = async (key: string): Promise<string[]> =>
  (await asKey(key, 'GET /keys/list')).body.map(({ id }: ListedKey) => id)

describe('a key that manages keys', () => {
  test('makes keys for its own owner, within its own scopes', async () => {
    const manager = await newManager()
    const made = await asKey(manager.key, 'POST /keys/create', { name: 'child', scopes: 'read' })
    expect(made.status).toBe(201)
    expect(made.body).toMatchObject({
      user_id: owner.id,
      service_account_id: null,
      created_by: manager.id,
      scopes: ['read'],
    })
    expect(await works(made.body.key)).toBe(true)
    expect((await asKey(made.body.key, 'GET /auth/me')).body).toMatchObject({
      id: owner.id,
      scopes: ['read'],
    })
    const audit = await sql`SELECT * FROM latchkey.audit_events WHERE target_id = ${made.body.id}`
    expect(audit).toMatchObject([{ action: 'key.created', actor_type: 'key', actor_id: manager.id }])
  })

  test('cannot hand out a scope that it lacks, although its owner has it', async () => {
    const manager = await newManager({ scopes: ['read', WRITE] })
    for (const scope of ['write', READ, 'latchkey:verify', 'deploy']) {
      const answer = await asKey(manager.key, 'POST /keys/create', { scopes: ['read', scope] })
      expectProblem(answer, 'insufficient_scope')
      expect(answer.headers.get('www-authenticate')).toContain(`scope="${scope}"`)
    }
    expect(await sql`SELECT 1 FROM latchkey.api_keys WHERE created_by = ${manager.id}`).toBeEmpty()
    const whatItHolds = await asKey(manager.key, 'POST /keys/create', { scopes: ['read', WRITE] })
    expect(whatItHolds.status).toBe(201)
  })

  test('cannot hand out a scope that its owner has lost', async () => {
    const person = await newPerson(service)
    const manager = await newManager({}, person)
    await sql`UPDATE latchkey.users SET scopes = '{}' WHERE id = ${person.id}`
    const create = () => asKey(manager.key, 'POST /keys/create', { scopes: 'read' })
    await until(async () => (await create()).status === 403, 'the ceiling is heard of')
    expectProblem(await create(), 'insufficient_scope')
    expect((await asKey(manager.key, 'POST /keys/create', {})).status).toBe(201)
  })

  test('cannot make a key that expires later than itself', async () => {
    const manager = await newManager({ expires_in_days: 10 })
    const [row] = await sql`SELECT expires_at FROM latchkey.api_keys WHERE id = ${manager.id}`
    const end: Date = row?.expires_at
    const create = (json: unknown) => asKey(manager.key, 'POST /keys/create', json)
    for (const json of [
      { expires_in_days: 11 },
      { expires_at: new Date(end.getTime() + 1).toISOString() },
      { expires_at: '9999-12-31T23:59:59Z' },
    ])
      expectProblem(await create(json), 'forbidden')
    expect(await sql`SELECT 1 FROM latchkey.api_keys WHERE created_by = ${manager.id}`).toBeEmpty()
    expect((await create({ expires_in_days: 9 })).status).toBe(201)
    expect((await create({ expires_at: end.toISOString() })).body.expires_at).toBe(end.toISOString())
    expect((await create({})).body.expires_at).toBe(end.toISOString())
    expect((await create({ expires_at: null })).body.expires_at).toBe(end.toISOString())
  })

  test('lists and revokes keys of its owner within its own power; other keys answer 404', async () => {
    const manager = await newManager({ expires_in_days: 10 })
    const within = [
      await newKey(service, owner.access, { scopes: 'read', expires_in_days: 5 }),
      await newKey(service, owner.access, { scopes: '', expires_in_days: 9 }),
    ]
    const beyond = [
      await newKey(service, owner.access, { scopes: 'write', expires_in_days: 5 }),
      await newKey(service, owner.access, { scopes: 'read', expires_in_days: 11 }),
      await newKey(service, owner.access, { scopes: 'read' }),
      await newKey(service, stranger.access, { scopes: 'read', expires_in_days: 5 }),
    ]
    const listed = await listedTo(manager.key)
    for (const { id } of within) expect(listed).toContain(id)
    for (const { id } of beyond) expect(listed).not.toContain(id)
    for (const { id, key } of beyond) {
      for (const path of ['revoke/', ''])
        expectProblem(await asKey(manager.key, `DELETE /keys/${path}${id}`), 'not_found')
      expect(await works(key)).toBe(true)
    }
    for (const { id, key } of within) {
      expect((await asKey(manager.key, `DELETE /keys/revoke/${id}`)).status).toBe(200)
      expect(await works(key)).toBe(false)
    }
  })

  test('cannot manage itself, in any spelling of its id', async () => {
    const manager = await newManager()
    for (const path of ['revoke/', '']) {
      for (const query of ['', '?created=true'])
        expectProblem(await asKey(manager.key, `DELETE /keys/${path}${manager.id}${query}`), 'forbidden')
      for (const id of [manager.id.toUpperCase(), `{${manager.id}}`, manager.id.replaceAll('-', '')])
        expectProblem(await asKey(manager.key, `DELETE /keys/${path}${id}`), 'not_found')
    }
    expect(await works(manager.key)).toBe(true)
  })

  test('cannot delete a key: that needs its user', async () => {
    const manager = await newManager()
    const child = await newKey(service, owner.access, { scopes: 'read' })
    expectProblem(await asKey(manager.key, `DELETE /keys/delete/${child.id}`), 'wrong_credential_kind')
    expect(await works(child.key)).toBe(true)
  })

  test('cannot make keys once it is revoked', async () => {
    const manager = await newManager()
    expect((await asKey(manager.key, 'POST /keys/create', {})).status).toBe(201)
    await call(service, `DELETE /keys/revoke/${manager.id}`, { bearer: owner.access })
    expectProblem(await asKey(manager.key, 'POST /keys/create', {}), 'invalid_token')
    expectProblem(await asKey(manager.key, 'GET /keys/list'), 'invalid_token')
  })
})

describe('without the scope for it', () => {
  test.each([
    ['POST /keys/create', WRITE],
    ['POST /keys', WRITE],
    ['GET /keys/list', READ],
    ['GET /keys', READ],
    ['DELETE /keys/revoke/0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6', WRITE],
    ['DELETE /keys/0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6', WRITE],
  ])(
    '%s answers 403 and names the scope, before any look-up and before the body is read',
    async (route, needed) => {
      const almost = await newKey(service, owner.access, {
        scopes: ['read', 'write', needed === READ ? WRITE : READ],
      })
      const options = { apiKey: almost.key, ...(route.startsWith('POST') ? { raw: 'not JSON' } : {}) }
      const answer = await call(service, route, options)
      expectProblem(answer, 'insufficient_scope')
      expect(answer.body.detail).toBe(`Missing required scope: ${needed}`)
      expect(answer.headers.get('www-authenticate')).toContain(`scope="${needed}"`)
      const [row] = await sql`
      SELECT * FROM latchkey.audit_events WHERE action = 'access.denied' AND actor_id = ${almost.id}`
      expect(row).toMatchObject({ outcome: 'refused' })
      expect(JSON.stringify(row?.details)).toContain(needed)
    },
  )
})

describe('?created=true', () => {
  test('revokes the keys that a key made, and the keys that these made, and no others', async () => {
    const manager = await newManager()
    const child = (await asKey(manager.key, 'POST /keys/create', { scopes: ['read', WRITE] })).body
    const grandchild = (await asKey(child.key, 'POST /keys/create', { scopes: 'read' })).body
    const sibling = await newKey(service, owner.access, { scopes: 'read' })
    const revoke = (query: string) =>
      call(service, `DELETE /keys/revoke/${manager.id}${query}`, { bearer: owner.access })

    expect((await revoke('?created=false')).status).toBe(200)
    expect(await works(manager.key)).toBe(false)
    expect(await works(child.key)).toBe(true)
    expect(await works(grandchild.key)).toBe(true)

    expect((await revoke('?created=true&reason=leaked')).status).toBe(200)
    expect(await works(child.key)).toBe(false)
    expect(await works(grandchild.key)).toBe(false)
    expect(await works(sibling.key)).toBe(true)
    const audit = await sql`
      SELECT target_id, details FROM latchkey.audit_events
      WHERE action = 'key.revoked' AND target_id IN (${child.id}, ${grandchild.id})`
    expect(audit).toHaveLength(2)
    for (const { details } of audit) expect(details).toEqual({ reason: 'leaked', made_by: manager.id })
  })
})
