import { beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { writeAuditCounts } from '../../src/core/audit/counted-events.ts'
import { type Call, call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const other = useService({}, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
beforeAll(async () => {
  // Counts the statements that write to the trail.
  await sql.unsafe(`
    CREATE TABLE public.writes (n int NOT NULL);
    INSERT INTO public.writes VALUES (0);
    CREATE FUNCTION public.count_write() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN UPDATE public.writes SET n = n + 1; RETURN NULL; END $$;
    CREATE TRIGGER count_write AFTER INSERT ON latchkey.audit_events
      FOR EACH STATEMENT EXECUTE FUNCTION public.count_write()`)
})
/** Moves both servers to the beginning of a new minute, so that each test has rows of its own. */
beforeEach(() => {
  for (const each of [service, other]) each.advance(60_000 - (each.context.clock() % 60_000))
})

const DENIED = { reason: 'insufficient_scope', missing_scopes: ['latchkey:users.read'], route: 'GET /users/' }

/** Sends a request that is refused for want of a scope, so many times. */
async function beRefused(on: TestService, caller: Call, times: number, route = 'GET /users') {
  const answers = await Promise.all(Array.from({ length: times }, () => call(on, route, caller)))
  for (const { status } of answers) expect(status).toBe(403)
}
type Json = { action: string; details: { route?: string } }
type Row = { id: string; actor_type: string; ip: string; at: Date; details: Record<string, unknown> }
const rowsOf = (actor: string) =>
  sql<Row[]>`SELECT id, at, actor_type, ip, details FROM latchkey.audit_events
    WHERE actor_id = ${actor} AND action = 'access.denied' ORDER BY id`
const detailsOf = async (actor: string) => (await rowsOf(actor)).map(({ details }) => details)
const writes = async () => (await sql`SELECT n FROM public.writes`)[0]?.n
const flush = () => Promise.all([service, other].map(({ context }) => writeAuditCounts(context)))
const person = async () => {
  const { id, access } = await addLoggedIn(service, sql)
  return { id, caller: { bearer: access } }
}

describe('refusals cannot flood the audit trail', () => {
  test('600 refusals of one caller on one route are one row with their count, in a few statements', async () => {
    const { id, caller } = await person()
    const before = await writes()
    for (let round = 0; round < 6; round++) await beRefused(service, caller, 100)
    await flush()
    expect(await detailsOf(id)).toEqual([{ ...DENIED, count: 600 }])
    expect((await writes()) - before).toBeLessThan(5)
  })

  test('refusals on two servers at the same moment are one row with their count', async () => {
    const { id, caller } = await person()
    for (let round = 0; round < 3; round++)
      await Promise.all([beRefused(service, caller, 20), beRefused(other, caller, 20)])
    await flush()
    expect(await detailsOf(id)).toEqual([{ ...DENIED, count: 120 }])
    const { body } = await call(service, `GET /audit?actor=${id}&action=access.denied`, {
      bearer: admin.access,
    })
    expect(body.items.map((item: Row) => item.details)).toEqual([{ ...DENIED, count: 120 }])
  })

  test('the first refusal is written before its answer, with actor, time and address', async () => {
    const { id, caller } = await person()
    await beRefused(service, caller, 1)
    const [row] = await rowsOf(id)
    expect(row).toMatchObject({ actor_type: 'user', ip: '127.0.0.1', details: { ...DENIED, count: 1 } })
    expect(Math.abs((row?.at.getTime() ?? 0) - service.context.clock())).toBeLessThan(10_000)
    expect(row?.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })

  test('another caller, route, reason or minute has a row of its own', async () => {
    const [one, two] = [await person(), await person()]
    const key = await newKey(service, one.caller.bearer, { scopes: 'read' })
    await beRefused(service, one.caller, 2)
    await beRefused(service, two.caller, 1)
    await beRefused(service, { apiKey: key.key }, 1)
    await beRefused(service, one.caller, 3, 'GET /audit')
    await beRefused(service, one.caller, 1, 'GET /protected/admin')
    await beRefused(service, one.caller, 1, 'GET /protected/service-only')
    service.advance(60_000)
    await beRefused(service, one.caller, 1)
    await flush()
    const counts = async (id: string) =>
      (await detailsOf(id)).map(({ reason, route, count }) => `${reason} ${route} ${count}`).sort()
    expect(await counts(one.id)).toEqual([
      'forbidden GET /protected/admin 1',
      'insufficient_scope GET /audit 3',
      'insufficient_scope GET /users/ 1',
      'insufficient_scope GET /users/ 2',
      'wrong_credential_kind GET /protected/service-only 1',
    ])
    expect(await counts(two.id)).toEqual(['insufficient_scope GET /users/ 1'])
    expect(await counts(key.id)).toEqual(['insufficient_scope GET /users/ 1'])
  })

  test('a counted row has the place of its first refusal in the list, on every page', async () => {
    const { id, caller } = await person()
    const routes = ['/users', '/audit', '/protected/admin', '/protected/service-only', '/users', '/audit']
    for (const route of routes) {
      await beRefused(service, caller, 1, `GET ${route}`)
      service.advance(5)
      await newKey(service, caller.bearer)
      service.advance(5)
    }
    const listed: string[] = []
    let cursor = ''
    do {
      const { body } = await call(service, `GET /audit?actor=${id}&limit=2${cursor}`, {
        bearer: admin.access,
      })
      listed.push(...body.items.map(({ action, details }: Json) => details.route ?? action))
      cursor = body.next_cursor && `&cursor=${body.next_cursor}`
    } while (cursor)
    expect(listed.toReversed().filter((each) => each !== 'user.login')).toEqual([
      ...['GET /users/', 'key.created', 'GET /audit', 'key.created', 'GET /protected/admin', 'key.created'],
      ...['GET /protected/service-only', 'key.created', 'key.created', 'key.created'],
    ])
  })

  test('no member of a request makes more rows', async () => {
    const { id, caller } = await person()
    for (let i = 0; i < 50; i++) {
      const json = { name: `${i}`, scopes: [`not-held-${i}`] }
      await beRefused(
        service,
        { ...caller, json, headers: { 'x-request-id': `request-id-${i}` } },
        1,
        'POST /keys',
      )
      await beRefused(service, caller, 1, `GET /users/${Bun.randomUUIDv7()}`)
      await beRefused(service, caller, 1, `GET /users?query=${i}`)
    }
    await flush()
    const counts = (await detailsOf(id)).map(({ route, count }) => `${route} ${count}`).sort()
    expect(counts).toEqual(['GET /users/ 50', 'GET /users/:id 50', 'POST /keys/ 50'])
  })
})

describe('no refusal is lost', () => {
  test('while the server runs: repeated refusals are written within seconds', async () => {
    const { id, caller } = await person()
    await beRefused(service, caller, 4)
    expect(await detailsOf(id)).toEqual([{ ...DENIED, count: 1 }])
    await until(async () => (await detailsOf(id))[0]?.count === 4, 'the repetitions are written')
  })

  test('when the server stops', async () => {
    const third = await startService({}, service)
    const { id, caller } = await person()
    await beRefused(third, caller, 3)
    await third.stop()
    expect(await detailsOf(id)).toEqual([{ ...DENIED, count: 3 }])
  })

  test('when the database cannot be written: the answer is 503, and the refusal is written later, once', async () => {
    const { id, caller } = await person()
    await beRefused(service, caller, 1)
    const { id: late, caller: another } = await person()
    await sql.unsafe(`CREATE FUNCTION public.refuse_row() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '53100'; END $$;
      CREATE TRIGGER refuse_row BEFORE INSERT ON latchkey.audit_events
      FOR EACH ROW EXECUTE FUNCTION public.refuse_row()`)
    try {
      await beRefused(service, caller, 2)
      expect((await call(service, 'GET /users', another)).status).toBe(503)
      await expect(writeAuditCounts(service.context)).rejects.toThrow()
      await expect(writeAuditCounts(service.context)).rejects.toThrow()
    } finally {
      await sql.unsafe('DROP FUNCTION public.refuse_row() CASCADE')
    }
    // Also after the minute of the refusal has passed.
    service.advance(60_000)
    await flush()
    await flush()
    expect(await detailsOf(id)).toEqual([{ ...DENIED, count: 3 }])
    expect(await detailsOf(late)).toEqual([{ ...DENIED, count: 1 }])
  })
})
