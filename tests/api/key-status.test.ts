import { describe, expect, test } from 'bun:test'
import { DAY_MS } from '../../src/lib/time.ts'
import { newKey } from '../support/client.ts'
import { call } from '../support/described.ts'
import { newClient } from '../support/oauth.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const owner = prepare(() => addLoggedIn(service, sql))
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))

const asOwner = (route: string, json?: unknown) => call(service, route, { bearer: owner.access, json })
const daysFromNow = (days: number) => new Date(Date.now() + days * DAY_MS).toISOString()
const dayOf = (at: string) => at.slice(0, 10)
const setAge = (id: string, days: number) =>
  sql`UPDATE latchkey.api_keys SET created_at = now() - make_interval(days => ${days}) WHERE id = ${id}`
const setUse = (id: string, days: number) =>
  sql`INSERT INTO latchkey.key_activity (key_id, last_used_at, last_used_day)
    VALUES (${id}, now() - make_interval(days => ${days}), current_date - ${days}::int)
    ON CONFLICT (key_id) DO UPDATE SET last_used_at = excluded.last_used_at, last_used_day = excluded.last_used_day`

type Shown = { id: string; status: string; status_reason: string | null }
const statusOf = async (id: string) => {
  const { status, status_reason } = (await asOwner(`GET /keys/${id}`)).body as Shown
  return [status, status_reason]
}
const listed = async (status: string, more = '') =>
  (await asOwner(`GET /keys?status=${status}${more}`)).body.map(({ id }: Shown) => id)

/** Puts a new key of the owner into each state. */
const STATES: Record<string, (id: string) => Promise<unknown>> = {
  revoked: (id) => asOwner(`DELETE /keys/${id}?reason=leaked`),
  expired: async (id) => {
    await asOwner(`PATCH /keys/${id}`, { expires_at: daysFromNow(1) })
    return sql`UPDATE latchkey.api_keys SET expires_at = now() WHERE id = ${id}`
  },
  disabled: (id) => asOwner(`PATCH /keys/${id}`, { is_active: false }),
  exhausted: (id) => asOwner(`PATCH /keys/${id}`, { credits: { remaining: 0 } }),
  expiring: (id) => asOwner(`PATCH /keys/${id}`, { expires_at: daysFromNow(13) }),
  unused: (id) => setAge(id, 91),
  active: (id) => asOwner(`PATCH /keys/${id}`, { expires_at: daysFromNow(15) }),
}

describe('the status of a key', () => {
  test.each<[string, string | null | RegExp]>([
    ['revoked', /^It was revoked on \d{4}-\d\d-\d\d: leaked$/],
    ['expired', /^It expired on \d{4}-\d\d-\d\d\.$/],
    ['disabled', 'It is disabled.'],
    ['exhausted', 'It has no credits left.'],
    ['expiring', `It expires on ${dayOf(daysFromNow(13))}.`],
    ['unused', 'It was never used.'],
    ['active', null],
  ])('%s is told with its reason, and narrows a list', async (status, reason) => {
    const { id } = await newKey(service, owner.access)
    await STATES[status]?.(id)
    expect(await statusOf(id)).toEqual([
      status,
      reason instanceof RegExp ? expect.stringMatching(reason) : reason,
    ])
    if (status === 'exhausted') return
    expect(await listed(status)).toContain(id)
    const others = ['revoked', 'expired', 'disabled', 'owner_disabled', 'expiring', 'unused']
    for (const other of others.filter((each) => each !== status))
      expect(await listed(other)).not.toContain(id)
    const isUsable = ['expiring', 'unused', 'active'].includes(status)
    expect((await listed('active')).includes(id)).toBe(isUsable)
  })

  test('is the first that holds', async () => {
    const { id } = await newKey(service, owner.access)
    for (const status of ['active', 'unused', 'expiring', 'exhausted', 'disabled', 'expired', 'revoked']) {
      await STATES[status]?.(id)
      expect((await statusOf(id))[0]).toBe(status)
    }
  })

  test('counts as unused by the last use, and from the day on that a key is as old', async () => {
    const { id } = await newKey(service, owner.access)
    await setAge(id, 89)
    expect((await statusOf(id))[0]).toBe('active')
    await setAge(id, 200)
    await setUse(id, 89)
    expect((await statusOf(id))[0]).toBe('active')
    expect(await listed('unused')).not.toContain(id)
    await setUse(id, 91)
    expect(await statusOf(id)).toEqual(['unused', `It was last used on ${dayOf(daysFromNow(-91))}.`])
    expect(await listed('unused')).toContain(id)
  })

  test("is owner_disabled where the key's owner is: a service account, or a user", async () => {
    const { id: account } = await newClient(service, owner.access)
    const json = { service_account_id: account }
    const { id } = (await asOwner('POST /keys', json)).body
    const of = `&service_account_id=${account}`
    expect(await listed('owner_disabled', of)).not.toContain(id)
    await asOwner(`PATCH /service-accounts/${account}`, { is_active: false })
    expect(await statusOf(id)).toEqual(['owner_disabled', 'Its owner is disabled.'])
    expect(await listed('owner_disabled', of)).toContain(id)
    expect(await listed('active', of)).not.toContain(id)

    const person = await addLoggedIn(service, sql)
    const theirs = await newKey(service, person.access)
    const asAdmin = (route: string, body?: unknown) =>
      call(service, route, { bearer: admin.access, json: body })
    await asAdmin(`PATCH /users/${person.id}`, { is_active: false })
    const found = await asAdmin(`GET /keys?user_id=${person.id}&status=owner_disabled`)
    expect(found.body.map((key: Shown) => [key.id, key.status])).toEqual([[theirs.id, 'owner_disabled']])
  })

  test('exhausted is no filter, since each use changes it', async () => {
    expectProblem(await asOwner('GET /keys?status=exhausted'), 'validation_failed')
  })
})
