import { describe, expect, test } from 'bun:test'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { beginExport, type ExportPage, requireExporter } from '../../src/core/exports/exports.ts'
import { updateExportEnd } from '../../src/core/exports/queries.ts'
import { recallCredential } from '../../src/core/verify/verify-credential.ts'
import { csvLine } from '../../src/lib/csv.ts'
import { call, newKey } from '../support/client.ts'
import { addLoggedIn, LABELLER } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const other = useService({}, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const owner = prepare(() => addLoggedIn(service, sql, { scopes: LABELLER }))
const support = prepare(() => addLoggedIn(service, sql, { scopes: ['read', 'latchkey:support'] }))

const CSV = { accept: 'text/csv' }
const asCsv = (route: string, bearer = admin.access, on = service) =>
  call(on, route, { bearer, headers: CSV })

/** Reads CSV by RFC 4180. */
function parse(text: string): string[][] {
  const rows: string[][] = [[]]
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    rows.at(-1)?.push(quoted === undefined ? (plain ?? '') : quoted.replaceAll('""', '"'))
    if (end === '\r\n') rows.push([])
  }
  return rows.slice(0, -1)
}
const recordsOf = (text: string) => {
  const [columns = [], ...rows] = parse(text)
  return rows.map((row) => Object.fromEntries(row.map((cell, at) => [columns[at], cell])))
}

describe('a cell', () => {
  test.each([
    ['=1+1', "'=1+1"],
    ['\uff1d1+1', "'\uff1d1+1"],
    ['\uff0b1', "'\uff0b1"],
    ['\uff0d1', "'\uff0d1"],
    ['\uff20a', "'\uff20a"],
    ['\n=1', `"'\n=1"`],
    ['+1', "'+1"],
    ['-1', "'-1"],
    [-1, "'-1"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['\tx', "'\tx"],
    ['\rx', '"\'\rx"'],
    ['=a,"b"', '"\'=a,""b"""'],
    ['a=1', 'a=1'],
    ['a "b", c', '"a ""b"", c"'],
    ['two\nlines', '"two\nlines"'],
    [' x', '" x"'],
    [null, ''],
    [undefined, ''],
    [true, 'true'],
    [0, '0'],
    [['a', 'b'], '"[""a"",""b""]"'],
    [{ a: 1 }, '"{""a"":1}"'],
  ])('%j is written as %j', (value, cell) => {
    expect(csvLine([value])).toBe(`${cell}\r\n`)
  })
})

describe('keys as CSV', () => {
  test('have the members of the object as columns, in their order, and the rows of the filter', async () => {
    const name = '=HYPERLINK("http://example.com")'
    const { id } = await newKey(service, owner.access, { name, scopes: 'read write', metadata: { a: [1] } })
    const answer = await asCsv('GET /keys?all=true&sort=created_at')
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('text/csv; charset=utf-8')
    expect(answer.headers.get('content-disposition')).toBe('attachment; filename="keys.csv"')
    expect(answer.headers.get('x-request-id')).not.toBeNull()
    const object = (await call(service, `GET /keys/${id}`, { bearer: admin.access })).body
    const [columns] = parse(answer.text)
    expect(columns).toEqual(Object.keys(object))
    const record = recordsOf(answer.text).find((row) => row.id === id)
    expect(record).toMatchObject({
      name: `'${name}`,
      user_id: owner.id,
      service_account_id: '',
      is_active: 'true',
      scopes: '["read","write"]',
      metadata: '{"a":[1]}',
      created_at: object.created_at,
      expires_at: '',
    })
    const revoked = await asCsv('GET /keys?all=true&status=revoked')
    expect(recordsOf(revoked.text).map((row) => row.id)).not.toContain(id)
    const expanded = await asCsv(`GET /keys?user_id=${owner.id}&expand=usage,owner`)
    expect(parse(expanded.text)[0]?.slice(-2)).toEqual(['owner', 'usage'])
    expect(recordsOf(expanded.text).find((row) => row.id === id)?.owner).toContain(owner.email)
  })

  test('are all of them, however many pages that is', async () => {
    const person = await addLoggedIn(service, sql)
    await sql`INSERT INTO latchkey.api_keys (id, user_id, scopes, created_at)
      SELECT gen_random_uuid(), ${person.id}, '{}', now() - make_interval(secs => n) FROM generate_series(1, 350) n`
    const { text } = await asCsv(`GET /keys?user_id=${person.id}&limit=3`)
    const ids = recordsOf(text).map((row) => row.id)
    expect([ids.length, new Set(ids).size]).toEqual([350, 350])
    const times = recordsOf(text).map((row) => row.created_at ?? '')
    expect(times).toEqual(times.toSorted().reverse())
  })

  test('of a list without rows are the columns alone', async () => {
    const { text } = await asCsv('GET /keys?all=true&external_id=nobody-has-this')
    expect(parse(text)).toHaveLength(1)
  })

  test('are asked for by name: any other Accept is answered with JSON', async () => {
    for (const accept of [
      '*/*',
      'application/json',
      'text/*',
      'text/csv;q=0',
      'application/json, text/csv;q=0.5',
    ])
      expect(
        (await call(service, 'GET /keys', { bearer: admin.access, headers: { accept } })).body,
      ).toBeArray()
    const accept = 'Text/CSV, application/json;q=0.9'
    const answer = await call(service, 'GET /keys?all=true', { bearer: admin.access, headers: { accept } })
    expect(answer.headers.get('content-type')).toStartWith('text/csv')
  })

  test('of a bad filter are a 422, and no export', async () => {
    expectProblem(await asCsv('GET /keys?all=true&sort=name'), 'validation_failed')
    expectProblem(await asCsv('GET /keys?all=true&cursor=forged'), 'validation_failed')
    expect((await asCsv('GET /keys?all=true')).status).toBe(200)
  })
})

describe('the audit trail as CSV', () => {
  test('has the rows of the filter', async () => {
    const answer = await asCsv('GET /audit?action=key.created')
    expect(answer.headers.get('content-disposition')).toBe('attachment; filename="audit.csv"')
    expect(parse(answer.text)[0]).toEqual([
      'id',
      'at',
      'action',
      'outcome',
      'actor',
      'target',
      'ip',
      'request_id',
      'details',
    ])
    const records = recordsOf(answer.text)
    const [row] = await sql`SELECT count(*)::int AS n FROM latchkey.audit_events WHERE action = 'key.created'`
    expect(records).toHaveLength(row?.n)
    expect(records.length).toBeGreaterThan(0)
    expect(JSON.parse(records[0]?.target ?? '')).toMatchObject({ type: 'key' })
  })

  test.each([
    [100_000, 100_050],
    [99_999, 99_999],
  ])('writes %i rows of %i', async (written, there) => {
    const leaving = await addLoggedIn(service, sql, { role: 'admin' })
    await call(service, 'GET /auth/me', { bearer: leaving.access })
    const caller = recallCredential(service.context, leaving.access)
    if (!caller) throw new Error('The caller is not known')
    const pageFrom = (first: number): ExportPage<number> => {
      const end = Math.min(first + 30_000, there)
      const rows = Array.from({ length: end - first }, (_, at) => first + at)
      return { rows, next: end === there ? null : async () => pageFrom(end) }
    }
    const exported = { list: 'audit', filter: {} } as const
    const pages = await beginExport(service.context, SYSTEM, requireExporter(caller), exported, pageFrom(0))
    let next = 0
    for await (const rows of pages) {
      expect(rows[0]).toBe(next)
      next += rows.length
    }
    expect(next).toBe(written)
  })
})

describe('who may', () => {
  test.each(['GET /keys?all=true', 'GET /keys', 'GET /keys/list', 'GET /audit'])(
    '%s is written out for admins alone',
    async (route) => {
      const { key } = await newKey(service, admin.access, {
        scopes: 'latchkey:support latchkey:keys.read latchkey:audit.read',
      })
      for (const bearer of [support.access, key]) {
        // The control: the same list as JSON.
        expect((await call(service, route, { bearer })).status).toBe(200)
        expectProblem(await asCsv(route, bearer), 'forbidden')
      }
      expect((await asCsv(route)).status).toBe(200)
    },
  )

  test('an export is audited, once, with its filter and without the text of a search', async () => {
    const since = new Date()
    await asCsv('GET /keys?all=true&status=active')
    await asCsv('GET /keys?all=true&query=pasted-by-mistake')
    await asCsv('GET /keys?all=true', support.access)
    await call(service, 'HEAD /keys?all=true', { bearer: admin.access, headers: CSV })
    const rows = await sql`SELECT actor_id, actor_type, outcome, details FROM latchkey.audit_events
      WHERE action = 'export.created' AND at >= ${since} ORDER BY at, id`
    const by = { actor_id: admin.id, actor_type: 'user', outcome: 'success' }
    expect([...rows]).toEqual([
      { ...by, details: { list: 'keys', filter: { all: 'true', status: 'active' } } },
      { ...by, details: { list: 'keys', filter: { all: 'true', searched: true } } },
    ])
  })
})

describe('one export at a time', () => {
  const manyEvents =
    () => sql`INSERT INTO latchkey.audit_events (id, at, action, outcome, actor_type, details)
    SELECT gen_random_uuid(), now() - make_interval(secs => n), 'test.long', 'success', 'system',
      jsonb_build_object('text', repeat('x', 2000)) FROM generate_series(1, 20000) n`
  /** An export of 40 MB, of which the first bytes are read. */
  async function begin(bearer = admin.access) {
    const response = await fetch(`${service.url}/audit?action=test.long`, {
      headers: { authorization: `Bearer ${bearer}`, ...CSV },
    })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    return reader
  }
  /** How many bytes come, or that the answer broke off. */
  async function drain(reader: Awaited<ReturnType<typeof begin>>) {
    let bytes = 0
    try {
      for (let part = await reader.read(); !part.done; part = await reader.read()) bytes += part.value.length
      return bytes
    } catch {
      return 'broken off'
    }
  }

  test('is the rule for an admin, on all servers together; another admin has an own', async () => {
    await manyEvents()
    const another = await addLoggedIn(service, sql, { role: 'admin' })
    const first = await begin()
    for (const on of [service, other]) {
      const refused = await asCsv('GET /keys?all=true', admin.access, on)
      expectProblem(refused, 'rate_limited')
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
      expect((await asCsv('GET /keys?all=true', another.access, on)).status).toBe(200)
    }
    expect(await drain(first)).toBeGreaterThan(40_000_000)
    await until(async () => (await asCsv('GET /keys?all=true')).status === 200, 'the next one begins')
  }, 240_000)

  test('a client that goes away ends its export', async () => {
    const reader = await begin()
    expectProblem(await asCsv('GET /keys?all=true'), 'rate_limited')
    await reader.cancel()
    await until(async () => (await asCsv('GET /keys?all=true')).status === 200, 'the next one begins')
  })

  test('an export whose server is gone ends by itself within a minute', async () => {
    await sql`INSERT INTO latchkey.exports (admin_id, id, expires_at)
      VALUES (${admin.id}, gen_random_uuid(), now() + interval '60 s')`
    expectProblem(await asCsv('GET /keys?all=true'), 'rate_limited')
    service.advance(61_000)
    expect((await asCsv('GET /keys?all=true')).status).toBe(200)
    service.advance(-61_000)
  })

  test.each<[string, (id: string) => Promise<unknown>]>([
    ['is demoted', (id) => sql`UPDATE latchkey.users SET role = 'user' WHERE id = ${id}`],
    ['is disabled', (id) => sql`UPDATE latchkey.users SET is_active = false WHERE id = ${id}`],
    ['is logged out', (id) => sql`UPDATE latchkey.sessions SET ended_at = now() WHERE user_id = ${id}`],
  ])(
    'breaks off where its admin %s meanwhile',
    async (_, end) => {
      const leaving = await addLoggedIn(service, sql, { role: 'admin' })
      const reader = await begin(leaving.access)
      await end(leaving.id)
      expect(await drain(reader)).toBe('broken off')
      expect(await sql`SELECT FROM latchkey.exports WHERE admin_id = ${leaving.id}`).toHaveLength(0)
      // The control: the same export of an admin who stays.
      const staying = await begin()
      expect(await drain(staying)).toBeGreaterThan(40_000_000)
    },
    240_000,
  )

  test('is moved on by its own id alone', async () => {
    const ids = { id: Bun.randomUUIDv7(), adminId: admin.id, sessionId: Bun.randomUUIDv7() }
    expect(await updateExportEnd(service.context.db, ids, new Date())).toBe(false)
  })
})
