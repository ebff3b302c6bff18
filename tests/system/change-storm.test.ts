import { expect, setDefaultTimeout, test } from 'bun:test'
import { writeUsage } from '../../src/core/usage/usage.ts'
import { KEYS_WRITE, USERS_WRITE } from '../../src/lib/scopes.ts'
import { makeApiKey } from '../../src/lib/tokens.ts'
import { insertKey } from '../support/authority.ts'
import { type Answer, type Call, call } from '../support/client.ts'
import { addPerson, beginSession, PASSWORD } from '../support/people.ts'
import { until } from '../support/until.ts'
import { useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const WAVES = 20
/** People in each wave. Half of them are admins. */
const PEOPLE = 6
/** Callers at the same time, and requests of each caller. */
const CALLERS = 8
const EACH = 8

const a = useService({ logLevel: 'error' })
const b = useService({ logLevel: 'error' }, a)
const sql = useSql(a)

/** A credential. `isDead` is true once an answer has confirmed that it is ended for good. */
type Credential = { text: string; isDead: boolean }
type Key = { id: string; secrets: Credential[]; made: Key[] }
type Person = { id: string; account: string; sessions: Credential[]; keys: Key[] }
type World = { people: Person[] }

const alive = (text: string): Credential => ({ text, isDead: false })

async function addActor(role: 'admin' | 'user'): Promise<Person> {
  const person = await addPerson(sql, { role, scopes: ['read', USERS_WRITE, KEYS_WRITE] })
  const account = Bun.randomUUIDv7()
  await sql`INSERT INTO latchkey.service_accounts (id, name, scopes, created_by, created_at)
    VALUES (${account}, 'service', '{read}', ${person.id}, now())`
  await sql`INSERT INTO latchkey.account_managers (id, service_account_id, user_id, created_at)
    SELECT gen_random_uuid(), id, created_by, now() FROM latchkey.service_accounts
    WHERE created_by IS NOT NULL ON CONFLICT DO NOTHING`
  const keys = []
  for (const scopes of [['read', USERS_WRITE, KEYS_WRITE], ['read']]) {
    const { id, key } = await insertKey(sql, { user: person.id }, scopes)
    keys.push({ id, secrets: [alive(key)], made: [] })
  }
  const sessions = [await beginSession(a, person), await beginSession(b, person)]
  return { id: person.id, account, sessions: sessions.map(({ access }) => alive(access)), keys }
}

/** A seeded random number, so that a failed run can be repeated. */
function randomFrom(seed: number) {
  let state = seed
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
  return <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T
}
type Pick = ReturnType<typeof randomFrom>

const secretsOf = (key: Key): Credential[] => [...key.secrets, ...key.made.flatMap(secretsOf)]
const allOf = ({ sessions, keys }: Person) => [...sessions, ...keys.flatMap(secretsOf)]

/** A change: its request, the credentials that it ends for good, and the new credentials after it. */
type Change = {
  route: string
  json?: unknown
  ends?: Credential[]
  adds?(body: Answer['body']): void
}
/** The caller of a request, by a session or a key. */
type Caller = { person: Person; credential: Credential; key: Key | null }
type Act = (caller: Caller, on: Person, pick: Pick) => Change

const change =
  (json: unknown, ends?: (on: Person) => Credential[], query = ''): Act =>
  (_, on) => ({ route: `PATCH /users/${on.id}${query}`, json, ends: ends?.(on) ?? [] })
const sessionsOf = ({ sessions }: Person) => [...sessions]

const ACTS: Record<string, Act> = {
  promote: change({ role: 'admin' }),
  demote: change({ role: 'user' }),
  disable: change({ is_active: false }, sessionsOf),
  'disable with accounts': change({ is_active: false }, sessionsOf, '?service_accounts=disable'),
  enable: change({ is_active: true }),
  delete: (_, on) => ({ route: `DELETE /users/${on.id}`, ends: allOf(on) }),
  'log out': (_, on) => ({ route: `POST /users/${on.id}/logout`, ends: sessionsOf(on) }),
  'log out everywhere': ({ person }) => ({ route: 'POST /auth/logout-all', ends: sessionsOf(person) }),
  'change the password': ({ person }) => ({
    route: 'POST /auth/password',
    json: { current_password: PASSWORD, new_password: 'another-long-one' },
    ends: sessionsOf(person),
    adds: (body) => person.sessions.push(alive(body.access_token)),
  }),
  create: ({ person, key }) => ({
    route: 'POST /keys',
    json: { scopes: ['read', KEYS_WRITE] },
    adds: (body) => (key?.made ?? person.keys).push({ id: body.id, secrets: [alive(body.key)], made: [] }),
  }),
  rotate: (_, on, pick) => {
    const [key, overlap_seconds] = [pick(on.keys), pick([0, 60, 60])]
    return {
      route: `POST /keys/${key.id}/rotate`,
      json: { overlap_seconds },
      ends: overlap_seconds === 0 ? [...key.secrets] : [],
      adds: (body) => key.secrets.push(alive(body.key)),
    }
  },
  'end a secret': (_, on, pick) => {
    const key = on.keys.findLast(({ secrets }) => secrets.length > 1) ?? pick(on.keys)
    const secret = pick(key.secrets)
    return { route: `DELETE /keys/${key.id}/secrets/${secret.text.slice(0, 11)}`, ends: [secret] }
  },
  revoke: (_, on, pick) => {
    const key = pick(on.keys)
    return { route: `DELETE /keys/${key.id}?created=true`, ends: secretsOf(key) }
  },
  'delete a key': (_, on, pick) => {
    const key = pick(on.keys)
    return { route: `DELETE /keys/delete/${key.id}`, ends: [...key.secrets] }
  },
  'end itself': ({ credential }) => ({ route: 'DELETE /keys/self', ends: [credential] }),
  'lower a key': (_, on, pick) => ({
    route: `PATCH /keys/${pick(on.keys).id}`,
    json: { is_active: pick([true, false]) },
  }),
  'disable an account': (_, on, pick) => ({
    route: `PATCH /service-accounts/${on.account}`,
    json: { is_active: pick([true, false]) },
  }),
  'delete an account': (_, on) => ({ route: `DELETE /service-accounts/${on.account}` }),
  import: (_, on) => ({
    route: 'POST /keys/import',
    json: {
      keys: [{ owner: { user_id: on.id } }, { owner: { service_account_id: on.account } }].map((item) => ({
        ...item,
        key: makeApiKey('old_'),
        scopes: ['read'],
      })),
    },
  }),
}

/** Changes that make new credentials, and changes that rarely find their target. */
const OFTEN = ['create', 'rotate', 'rotate', 'end a secret', 'end a secret', 'demote', 'enable']

const counts = { changes: 0, refusals: 0 }
const done: Record<string, number> = {}

/** Sends a change, and compares its answer with the confirmed ends of credentials. */
async function send(name: string, { credential }: Caller, { route, json, ends, adds }: Change, pick: Pick) {
  const wasDead = credential.isDead
  const options: Call = { bearer: credential.text, json }
  const { status, body, text } = await call(pick([a, b]), route, options)
  if (status >= 500) throw new Error(`${name}: ${route} answered ${status}: ${text}`)
  if (status >= 300) {
    counts.refusals++
    return
  }
  if (wasDead) throw new Error(`${name}: ${route} by a credential that was ended before answered ${status}`)
  counts.changes++
  done[name] = (done[name] ?? 0) + 1
  for (const ended of ends ?? []) ended.isDead = true
  adds?.(body)
}

/** An admin issues a password reset, and the reset is used. */
async function reset({ credential }: Caller, on: Person, pick: Pick) {
  const issued = await call(pick([a, b]), `POST /users/${on.id}/password-reset`, { bearer: credential.text })
  if (issued.status >= 500) throw new Error(`A reset answered ${issued.status}: ${issued.text}`)
  if (issued.status >= 300) return
  const ends = sessionsOf(on)
  const json = { token: issued.body.token, new_password: 'another-long-one' }
  const used = await call(pick([a, b]), 'POST /auth/password-reset', { json })
  if (used.status >= 500) throw new Error(`Using a reset answered ${used.status}: ${used.text}`)
  if (used.status >= 300) return
  done.reset = (done.reset ?? 0) + 1
  for (const ended of ends) ended.isDead = true
}

function pickCaller({ people }: World, pick: Pick): Caller {
  const person = pick(people)
  const key = pick([null, null, ...person.keys])
  const all = key ? key.secrets : person.sessions
  const living = all.filter(({ isDead }) => !isDead)
  return { person, key, credential: pick(pick([all, living, living]).concat(all.slice(-1))) }
}

async function act(world: World, pick: Pick) {
  for (let i = 0; i < EACH; i++) {
    const caller = pickCaller(world, pick)
    const on = pick([caller.person, pick(world.people), pick(world.people)])
    const name = pick([...Object.keys(ACTS), 'reset', ...OFTEN])
    const describe = ACTS[name]
    if (describe) await send(name, caller, describe(caller, on, pick), pick)
    else await reset(caller, on, pick)
    await writeUsage(pick([a, b]).context)
  }
}

test(`${WAVES * CALLERS * EACH} mixed changes by ${CALLERS} callers at once on two servers: no server error, and an ended credential stays refused`, async () => {
  let [dead, living] = [0, 0]
  for (let wave = 0; wave < WAVES; wave++) {
    await sql`UPDATE latchkey.users SET role = 'user'`
    const people: Person[] = []
    for (let i = 0; i < PEOPLE; i++) people.push(await addActor(i < PEOPLE / 2 ? 'admin' : 'user'))
    const world = { people }
    await Promise.all(
      Array.from({ length: CALLERS }, (_, i) => act(world, randomFrom(wave * CALLERS + i + 1))),
    )
    const [admins] =
      await sql`SELECT count(*)::int AS n FROM latchkey.users WHERE role = 'admin' AND is_active`
    expect([wave, admins?.n > 0]).toEqual([wave, true])
    for (const { text, isDead } of people.flatMap(allOf)) {
      const statuses = async () =>
        Promise.all([a, b].map(async (at) => (await call(at, 'GET /auth/me', { bearer: text })).status))
      if (isDead)
        await until(async () => (await statuses()).every((status) => status === 401), 'it is dead', 2000)
      else if ((await statuses()).every((status) => status === 200)) living++
      dead += Number(isDead)
    }
  }
  const [database] = await sql`SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()`
  process.stdout.write(
    `      ${counts.changes} changes, ${counts.refusals} refusals; ${dead} credentials ended, ${living} live; deadlocks that were tried again: ${database?.deadlocks}\n`,
  )
  expect(Object.keys(done).sort()).toEqual([...Object.keys(ACTS), 'reset'].sort())
  for (const n of [counts.changes, dead, living]) expect(n).toBeGreaterThan(WAVES)
  expect(database?.deadlocks).toBe(0)
})
