import { describe, expect, test } from 'bun:test'
import { readConfig } from '../../src/config/read.ts'
import { listSettings, showConfig } from '../../src/config/show.ts'
import { deleteOutdated } from '../../src/core/housekeeping/delete-outdated.ts'
import { announceInstance, describeInstance } from '../../src/core/instances/instances.ts'
import { secret } from '../../src/lib/secret.ts'
import { VERSION } from '../../src/lib/version.ts'
import { newKey } from '../support/client.ts'
import { call } from '../support/described.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService({
  metricsToken: secret('a-token-for-metrics-0123'),
  secretKeyPrevious: secret('kU3vZ8qWm1xR5tYp7nBc2sDf9gHj4lAe6oIiQzXy'),
})
const other = useService({}, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))

const ask = async (on = service) => (await call(on, 'GET /instance', { bearer: admin.access })).body

describe('the server that answers', () => {
  test('says its version, its start, and its database with the newest migration', async () => {
    const { version, started_at, database, warnings } = await ask()
    expect(version).toBe(VERSION)
    expect(Date.now() - Date.parse(started_at)).toBeWithin(0, 60_000)
    const [row] = await sql`SELECT current_setting('server_version') AS version`
    expect(database).toEqual({
      kind: 'postgres',
      version: row?.version,
      migration: expect.stringMatching(/^\d{4}_\w+$/),
    })
    const journal = await Bun.file(`${import.meta.dir}/../../drizzle/meta/_journal.json`).json()
    expect(database.migration).toBe(journal.entries.at(-1).tag)
    expect(warnings).toEqual([])
  })

  test('names a migration of a newer release by its time', async () => {
    await sql`INSERT INTO latchkey.migrations (hash, created_at) VALUES ('newer', 9999999999999)`
    expect((await ask()).database.migration).toBe('9999999999999')
    await sql`DELETE FROM latchkey.migrations WHERE hash = 'newer'`
  })

  test('shows every setting, and of secrets that they are set', async () => {
    const { settings } = await ask()
    const names = settings.map(({ name }: { name: string }) => name)
    expect(names).toEqual(Object.keys(showConfig(service.config)))
    const values = Object.fromEntries(
      settings.map((each: { name: string; value: unknown }) => [each.name, each.value]),
    )
    for (const name of [
      'SECRET_KEY',
      'SECRET_KEY_PREVIOUS',
      'METRICS_TOKEN',
      'DATABASE_URL',
      'DATABASE_DIRECT_URL',
    ])
      expect([name, values[name]]).toEqual([name, '(hidden)'])
    expect([values.REDIS_URL, values.SMTP_URL, values.AUDIT_RETENTION_DAYS]).toEqual([null, null, 365])
    const { text } = await call(service, 'GET /instance', { bearer: admin.access })
    const { secretKey, secretKeyPrevious, metricsToken, databaseUrl } = service.config
    for (const hidden of [secretKey, secretKeyPrevious, metricsToken, databaseUrl]) {
      expect(text).not.toContain(hidden?.reveal() ?? '')
      expect(text).not.toContain(hidden?.reveal().slice(0, 20) ?? '')
    }
  })

  test('is told to admins alone', async () => {
    const person = await addLoggedIn(service, sql, { scopes: ['latchkey:support'] })
    expectProblem(await call(service, 'GET /instance', { bearer: person.access }), 'forbidden')
    const { key } = await newKey(service, admin.access, { scopes: 'latchkey:support' })
    expectProblem(await call(service, 'GET /instance', { apiKey: key }), 'wrong_credential_kind')
  })
})

describe('where a setting comes from', () => {
  const sourcesOf = (environment: Record<string, string>, dotenv?: string) => {
    const result = readConfig(environment, {
      ...(dotenv !== undefined && { dotenv }),
      readFile: () => ({ text: 'kU3vZ8qWm1xR5tYp7nBc2sDf9gHj4lAe6oIiQzXy' }),
    })
    if ('faults' in result) throw new Error(result.faults.join())
    const listed = listSettings(result.config)
    return (name: string) => listed.find((each) => each.name === name)?.source
  }

  test('is the environment, a file, or nowhere', () => {
    const sourceOf = sourcesOf(
      { PORT: '8001', LOG_LEVEL: '' },
      'PORT=8002\nLOG_FORMAT=json\nLOG_LEVEL=warn\n',
    )
    expect(sourceOf('PORT')).toBe('environment')
    expect(sourceOf('LOG_FORMAT')).toBe('file')
    expect(sourceOf('HOST')).toBe('default')
    // An empty value of the environment still hides that of the file.
    expect(sourceOf('LOG_LEVEL')).toBe('default')
  })

  test('is a file for a mounted secret', () => {
    expect(sourcesOf({ SECRET_KEY_FILE: '/run/secrets/key' })('SECRET_KEY')).toBe('file')
    expect(sourcesOf({}, 'SECRET_KEY_FILE=/run/secrets/key\n')('SECRET_KEY')).toBe('file')
    expect(sourcesOf({ SECRET_KEY: 'kU3vZ8qWm1xR5tYp7nBc2sDf9gHj4lAe6oIiQzXy' })('SECRET_KEY')).toBe(
      'environment',
    )
  })
})

describe('the servers on a database', () => {
  const ids = async () => (await ask()).instances.map(({ id }: { id: string }) => id)
  const seenAgo = (seconds: number) => sql`UPDATE latchkey.instances
    SET seen_at = now() - make_interval(secs => ${seconds}) WHERE id = ${other.context.instance.id}`

  test('are shown with their versions, those that run longest first', async () => {
    const { instances, started_at } = await ask()
    expect(instances).toMatchObject([
      { id: service.context.instance.id, version: VERSION, started_at },
      { id: other.context.instance.id, version: VERSION },
    ])
    expect((await ask(other)).instances).toEqual((await ask()).instances)
  })

  test('are shown for a minute after they were last seen, and deleted after an hour', async () => {
    await seenAgo(55)
    expect(await ids()).toEqual([service.context.instance.id, other.context.instance.id])
    await seenAgo(65)
    expect(await ids()).toEqual([service.context.instance.id])
    const rows = () => sql`SELECT FROM latchkey.instances`
    await seenAgo(59 * 60)
    await deleteOutdated(service.context, { vacuums: false })
    expect(await rows()).toHaveLength(2)
    await seenAgo(61 * 60)
    await deleteOutdated(service.context, { vacuums: false })
    expect(await rows()).toHaveLength(1)
    // A server that was only slow is there again with its next row.
    await announceInstance(other.context)
    expect((await ids()).length).toBe(2)
  })

  test('a server writes its row again every twenty seconds', async () => {
    const seen = async () => (await describeInstance(service.context)).instances[0]?.seen_at ?? ''
    const before = Date.parse(await seen())
    service.advance(20_000)
    await announceInstance(service.context)
    expect(Date.parse(await seen()) - before).toBeGreaterThanOrEqual(20_000)
    service.advance(-20_000)
  })
})
