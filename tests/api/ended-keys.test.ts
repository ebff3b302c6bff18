import { expect, test } from 'bun:test'
import { deleteOutdated } from '../../src/core/housekeeping/delete-outdated.ts'
import { DAY_MS } from '../../src/lib/time.ts'
import { call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const RETENTION_DAYS = 30
const service = useService({ auditRetentionDays: RETENTION_DAYS })
const sql = useSql(service)
const owner = prepare(() => addLoggedIn(service, sql))

const daysAgo = (days: number) => new Date(Date.now() - days * DAY_MS)
const clean = () => deleteOutdated(service.context, { vacuums: false })
const rowsOf = async (ids: string[]) => {
  const keys = await sql`SELECT id FROM latchkey.api_keys WHERE id = ANY (${ids})`
  const secrets =
    await sql`SELECT DISTINCT key_id AS id FROM latchkey.api_key_secrets WHERE key_id = ANY (${ids})`
  const names = (rows: readonly { id?: string }[]) => rows.map(({ id }) => id).sort()
  expect(names(secrets as never)).toEqual(names(keys as never))
  return names(keys as never)
}

test('keys that ended longer ago than the audit trail reaches are removed with their secrets, and no others', async () => {
  const make = async (ended: { revoked?: number; expired?: number }) => {
    const { id } = await newKey(service, owner.access, { scopes: 'read' })
    const [revoked, expired] = [ended.revoked, ended.expired].map((days) =>
      days === undefined ? null : daysAgo(days),
    )
    await sql`UPDATE latchkey.api_keys SET revoked_at = ${revoked ?? null}, expires_at = ${expired ?? null} WHERE id = ${id}`
    return id
  }
  const [over, under] = [RETENTION_DAYS + 1, RETENTION_DAYS - 1]
  const gone = [
    await make({ revoked: over }),
    await make({ expired: over }),
    await make({ revoked: over, expired: under }),
    await make({ revoked: under, expired: over }),
  ]
  const kept = [
    await make({}),
    await make({ revoked: under }),
    await make({ expired: under }),
    await make({ expired: -1 }),
    await make({ revoked: under, expired: -400 }),
  ]
  await sql`INSERT INTO latchkey.key_usage VALUES (${gone[0] ?? ''}, now(), 'VALID', 1)`
  expect(await rowsOf([...gone, ...kept])).toHaveLength(9)
  await clean()
  expect(await rowsOf([...gone, ...kept])).toEqual([...kept].sort())
  expect((await call(service, `GET /keys/${gone[0]}`, { bearer: owner.access })).status).toBe(404)
  // What happened to it stays in the audit trail.
  const events = await sql`SELECT action FROM latchkey.audit_events WHERE target_id = ${gone[0] ?? ''}`
  expect(events.map(({ action }) => action)).toEqual(['key.created'])
})

test('many are removed, at most 1,000 in a statement', async () => {
  await sql`INSERT INTO latchkey.api_keys (id, user_id, scopes, created_at, revoked_at)
    SELECT gen_random_uuid(), ${owner.id}, '{}', now() - interval '99 d', now() - interval '90 d' FROM generate_series(1, 2100)`
  await sql`CREATE TABLE public.deletions (rows int)`
  await sql`CREATE FUNCTION public.count_deletions() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO public.deletions SELECT count(*) FROM gone; RETURN NULL; END $$`
  await sql`CREATE TRIGGER counted AFTER DELETE ON latchkey.api_keys
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION public.count_deletions()`
  await clean()
  const [left] =
    await sql`SELECT count(*)::int AS count FROM latchkey.api_keys WHERE revoked_at < now() - interval '60 d'`
  const [seen] = await sql`SELECT max(rows)::int AS most, sum(rows)::int AS total FROM public.deletions`
  expect([left?.count, seen?.total]).toEqual([0, 2100])
  expect(seen?.most).toBeLessThanOrEqual(1000)
})
