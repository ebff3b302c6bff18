import { afterAll, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { PUBLISHED } from '../../src/db/published.ts'
import { silentLog } from '../../src/lib/log.ts'
import { bringUpToDate } from '../../src/server/open.ts'
import { call, newPerson } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { testConfig } from '../support/config.ts'
import { createDatabase, hasVersion } from '../support/postgres.ts'
import { type Pair, REGION, SLOT, startPair, withDatabase } from '../support/region.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { newHomeKey } from '../support/verifier.ts'

setDefaultTimeout(120_000)

let pair: Pair
let home: TestService
let key: string

beforeAll(async () => {
  pair = await startPair(18, 18)
  home = await startService({}, { databaseUrl: pair.home.url, config: testConfig() })
  key = await newHomeKey(home)
})
afterAll(async () => {
  await home?.stop()
  await pair?.end()
})

const ofHome = () => ({
  DATABASE_URL: pair.home.url,
  SECRET_KEY: home.config.secretKey?.reveal() ?? '',
})
const ofRegion = (url = pair.region.verifierUrl) => ({
  MODE: 'verify',
  DATABASE_URL: url,
  HOME_URL: home.url,
  HOME_KEY: key,
  REGION_NAME: REGION,
})
const check = async (env: Record<string, string> = ofRegion()) => {
  const { code, out, err } = await runInProcess(['region', 'check', '--json'], { env })
  return { code, ...JSON.parse(out || JSON.stringify({ err })) }
}

test('a server of home sends the heartbeats, and they arrive', async () => {
  const newest = async () => Number((await pair.region.sql`SELECT n FROM latchkey.heartbeats`)[0]?.n)
  const from = await newest()
  await until(async () => (await newest()) >= from + 2, 'two more heartbeats arrive')
  expect([...(await pair.region.sql`SELECT 1 FROM latchkey.region_state`)]).toEqual([])
  const settings = await pair.region.sql`SELECT name, value FROM latchkey.shared_settings ORDER BY name`
  expect(settings.map(({ name }) => name)).toEqual(['API_KEY_PREFIX', 'JWT_AUDIENCE', 'PUBLIC_URL'])
})

test('what home says of itself needs the scope of regions, and names nobody', async () => {
  const asked = await call(home, 'GET /region/status', { bearer: key })
  expect(asked.status).toBe(200)
  expect(asked.body).toMatchObject({ wal_level: 'logical', max_slot_wal_keep_size: '1GB' })
  expect(asked.body.slots).toMatchObject([{ name: SLOT, active: true, wal_status: 'reserved' }])
  const tables = asked.body.publication.map(({ table }: { table: string }) => table)
  expect(tables).toEqual(PUBLISHED.map(({ name }) => name).sort())
  const { access } = await newPerson(home)
  expect((await call(home, 'GET /region/status', { bearer: access })).status).toBe(403)
  expect((await call(home, 'GET /region/status')).status).toBe(401)
})

test('a region in order is told so; each thing that is wrong is named, in the region and at home', async () => {
  expect(await check()).toMatchObject({ code: 0, place: 'region', problems: [], unknown: [] })
  expect(await check(ofHome())).toMatchObject({ code: 0, place: 'home', problems: [] })
  const text = await runInProcess(['region', 'check'], { env: ofRegion() })
  expect(text.out).toContain('This region is in order.')
  expect(text.out).toContain(`Slot ${SLOT}: streaming`)

  const region = (statement: string) => pair.region.sql.unsafe(statement)
  const atHome = (statement: string) => pair.home.sql.unsafe(statement)
  const setFailover = async (isOn: boolean) => {
    await region(`ALTER SUBSCRIPTION ${SLOT} DISABLE`)
    const isSet = () =>
      region(`ALTER SUBSCRIPTION ${SLOT} SET (failover = ${isOn})`).then(
        () => true,
        () => false,
      )
    await until(isSet, 'the slot is free')
    await region(`ALTER SUBSCRIPTION ${SLOT} ENABLE`)
    const isActive = async () =>
      (await pair.home.sql`SELECT active FROM pg_replication_slots WHERE slot_name = ${SLOT}`)[0]?.active
    await until(isActive, 'the slot is read again')
  }
  const cases: [string, () => Promise<unknown>, () => Promise<unknown>][] = [
    [
      'the copy may lack changes of home (chain)',
      () => region(`INSERT INTO latchkey.region_state VALUES (true, now(), 'chain')`),
      () => region('DELETE FROM latchkey.region_state'),
    ],
    [
      'tables may be changed here: users;',
      () => region('DROP TRIGGER region_guard ON latchkey.users'),
      () => runInProcess(['migrate', '--region'], { env: ofRegion(pair.region.url) }),
    ],
    [
      'foreign keys would stop the stream: extra;',
      () =>
        region(
          'ALTER TABLE latchkey.sessions ADD CONSTRAINT extra FOREIGN KEY (user_id) REFERENCES latchkey.users',
        ),
      () => region('ALTER TABLE latchkey.sessions DROP CONSTRAINT extra'),
    ],
    [
      'columns that stay at home may not be missing: oauth_grants.scopes;',
      () => region('ALTER TABLE latchkey.oauth_grants ALTER COLUMN scopes SET NOT NULL'),
      () => runInProcess(['migrate', '--region'], { env: ofRegion(pair.region.url) }),
    ],
    [
      'home: users is published with locked_settings, which stays at home',
      () =>
        atHome(`ALTER PUBLICATION latchkey DROP TABLE latchkey.users;
          ALTER PUBLICATION latchkey ADD TABLE latchkey.users (id, locked_settings)`),
      () => runPrinted(),
    ],
    [
      'home: a filter leaves rows of users out',
      () =>
        atHome(`ALTER PUBLICATION latchkey DROP TABLE latchkey.users;
          ALTER PUBLICATION latchkey ADD TABLE latchkey.users (id) WHERE (id IS NOT NULL)`),
      () => runPrinted(),
    ],
    [
      'home: the publication leaves out each delete, truncate',
      () => atHome(`ALTER PUBLICATION latchkey SET (publish = 'insert, update')`),
      () => runPrinted(),
    ],
    [
      'home: synchronized_standby_slots is empty',
      async () => {
        await atHome(`SELECT pg_create_physical_replication_slot('standby')`)
        await setFailover(true)
      },
      async () => {
        await atHome(`SELECT pg_drop_replication_slot('standby')`)
        await setFailover(false)
      },
    ],
    [
      'home: api_keys is not published',
      () => atHome('ALTER PUBLICATION latchkey DROP TABLE latchkey.api_keys'),
      () => runPrinted(),
    ],
  ]
  for (const [problem, breaks, mends] of cases) {
    await breaks()
    const found = await check()
    expect([problem, found.code, found.problems.some((each: string) => each.startsWith(problem))]).toEqual([
      problem,
      1,
      true,
    ])
    await mends()
    expect([problem, (await check()).problems]).toEqual([problem, []])
  }
  await region(`ALTER SUBSCRIPTION ${SLOT} DISABLE`)
  await until(
    async () => (await check()).problems.includes(`home: nothing streams from the slot ${SLOT}`),
    'the slot is idle',
  )
  expect((await check()).problems).toContain('the subscription is disabled')
  await region(`ALTER SUBSCRIPTION ${SLOT} ENABLE`)
  await until(async () => (await check()).code === 0, 'the region is in order again')

  const away = await check({ ...ofRegion(), HOME_URL: 'http://127.0.0.1:9' })
  expect(away).toMatchObject({ code: 0, home: null, unknown: ['home does not answer at http://127.0.0.1:9'] })
})

/** Runs what `region publication` prints. */
async function runPrinted(): Promise<void> {
  const { code, out } = await runInProcess(['region', 'publication', '--json'], { env: ofHome() })
  expect(code).toBe(0)
  for (const statement of JSON.parse(out).statements) await pair.home.sql.unsafe(statement)
}

test('the printed SQL is the same for a person and for a program, and looks for new tables where there is a subscription', async () => {
  const words = ['region', 'subscription', '--name', 'eu-1', '--connection', "host='a b' password=it's"]
  const env = ofRegion(pair.region.url)
  const { out } = await runInProcess([...words, '--json'], { env })
  const { text, statements } = JSON.parse(out)
  expect((await runInProcess(words, { env })).out.trim()).toBe(text.trim())
  for (const statement of statements) expect(text).toContain(`${statement};`)
  expect(statements.at(-1)).toBe(`ALTER SUBSCRIPTION ${SLOT} REFRESH PUBLICATION`)

  const resync = await runInProcess(['region', 'resync', ...words.slice(2)], { env })
  expect(resync.out).toContain(
    `CREATE SUBSCRIPTION latchkey_eu_1 CONNECTION 'host=''a b'' password=it''s' PUBLICATION latchkey;`,
  )
  expect(resync.out).toContain(`DROP SUBSCRIPTION ${SLOT};`)
  const failover = await runInProcess(['region', 'resync', '--name', 'eu', '--failover'], { env })
  expect(failover.out).toContain('PUBLICATION latchkey WITH (failover = true);')
})

test('each command refuses the database of the other side, and one that is too old', async () => {
  const fails = async (words: string[], env: Record<string, string>, message: string) => {
    const { code, err } = await runInProcess(words, { env })
    expect([words, code, err]).toEqual([words, 1, expect.stringContaining(message)])
  }
  const region = ofRegion(pair.region.url)
  const asServer = { ...ofHome(), DATABASE_URL: pair.region.url }
  await fails(['region', 'publication'], asServer, 'no up-to-date database of home')
  await fails(['region', 'subscription', '--name', 'eu'], ofHome(), 'no up-to-date copy of a region')
  await fails(['region', 'subscription', '--name', 'Eu'], region, '--name is')
  await fails(['migrate'], asServer, 'migrate it by "latchkey migrate --region"')
  await fails(['migrate', '--region'], ofHome(), 'a region needs an empty one')
  await fails(['users', 'list'], asServer, 'only verifiers use it')
  await withDatabase(pair.home.url, async (database) => {
    const verifier = testConfig({ mode: 'verify', migrate: 'check' })
    await expect(bringUpToDate(verifier, database, silentLog)).rejects.toThrow('no copy of a region')
    await bringUpToDate(testConfig({ migrate: 'check' }), database, silentLog)
  })
  if (!hasVersion(14)) return
  const old = await createDatabase({ version: 14, migrated: false })
  try {
    const env = ofRegion(old.url)
    await fails(['migrate', '--region'], env, 'regions need PostgreSQL 15 or later')
    await fails(['region', 'subscription', '--name', 'eu'], env, 'regions need PostgreSQL 15 or later')
    await fails(['region', 'publication'], { ...ofHome(), DATABASE_URL: old.url }, 'this server is 14')
  } finally {
    await old.drop()
  }
})
