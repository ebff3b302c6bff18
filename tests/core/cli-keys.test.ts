import { beforeAll, describe, expect, test } from 'bun:test'
import { parseArguments } from '../../src/cli/arguments.ts'
import { commands } from '../../src/cli/commands/keys.ts'
import { describeFailure } from '../../src/server/failure.ts'
import { type Call, call, newKey } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { addLoggedIn, LABELLER, type Tokens } from '../support/people.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const SLOW_MS = 240_000
const create = commands['keys create']

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const user = prepare(() => addLoggedIn(service, sql))
let account: { id: string }
beforeAll(async () => {
  const made = await call(service, 'POST /service-accounts', {
    bearer: admin.access,
    json: { name: 'builder', scopes: ['read', 'deploy', 'latchkey:verify'] },
  })
  account = made.body
})

/** Runs a command on the database of the service. */
const keys = (words: readonly string[], stdin = '') =>
  runInProcess(['keys', ...words], {
    env: { DATABASE_URL: service.databaseUrl, SECRET_KEY: service.config.secretKey?.reveal() ?? '' },
    input: stdin,
  })
const keysJson = async (words: readonly string[], stdin = '') => {
  const { code, out, err } = await keys([...words, '--json'], stdin)
  return { code, err, body: out === '' ? null : JSON.parse(out) }
}
const present = (key: string, options: Call = {}) =>
  call(service, 'GET /protected/any', { apiKey: key, ...options })

test(
  'a key for a user is made with all its settings, printed once, and accepted by a running server',
  async () => {
    const made = await keysJson([
      'create',
      ...['--user', user.email.toUpperCase(), '--name', 'deploy', '--description', 'of the site'],
      ...['--scopes', 'read, write', '--expires-in-days', '30', '--external-id', 'customer-7'],
      ...['--metadata', '{"plan":"gold"}', '--rate-limit', '100/60', '--refill', '1000/monthly'],
      ...['--allowed-ips', '127.0.0.1,192.0.2.0/24'],
    ])
    expect({ code: made.code, err: made.err }).toEqual({ code: 0, err: '' })
    const { key, ...object } = made.body
    expect(object).toMatchObject({
      name: 'deploy',
      description: 'of the site',
      user_id: user.id,
      service_account_id: null,
      created_by: null,
      scopes: ['read', 'write'],
      external_id: 'customer-7',
      metadata: { plan: 'gold' },
      rate_limit: { limit: 100, window_seconds: 60 },
      credits: { remaining: 1000, refill: { amount: 1000, interval: 'monthly' } },
      allowed_ips: ['127.0.0.1/32', '192.0.2.0/24'],
    })
    expect((await present(key)).body.scopes).toEqual(['read', 'write'])
    const listed = await call(service, `GET /keys/${object.id}`, { bearer: user.access })
    expect(listed.body).toEqual({ ...object, last_used_at: listed.body.last_used_at })
    const [event] = await sql`SELECT * FROM latchkey.audit_events WHERE target_id = ${object.id}`
    expect(event).toMatchObject({ action: 'key.created', actor_type: 'system', actor_id: null })
    expect(JSON.stringify(event)).not.toContain(key)
  },
  SLOW_MS,
)

test(
  'a key for a service account is made, with output for people',
  async () => {
    const { code, out, err } = await keys([
      'create',
      '--service-account',
      account.id,
      '--scopes',
      'deploy,latchkey:verify',
    ])
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toContain('Scopes: deploy, latchkey:verify. Expires: never.')
    const key = /shown this once: (sk_\w{49})\n$/.exec(out)?.[1] ?? ''
    const me = await call(service, 'GET /auth/me', { apiKey: key })
    expect(me.body).toMatchObject({ type: 'service_account', id: account.id })
    const asked = await call(service, 'POST /keys/verify', { apiKey: key, json: { key } })
    expect(asked.body).toMatchObject({ valid: true, scopes: ['deploy', 'latchkey:verify'] })
  },
  SLOW_MS,
)

describe('a key is not made', () => {
  const UNKNOWN_ID = '0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6'
  test.each<[string, () => string[], string]>([
    ['without an owner', () => [], 'say whose key it is to be'],
    [
      'for two owners',
      () => ['--user', user.email, '--service-account', account.id],
      '--user and --service-account exclude each other',
    ],
    ['for nobody', () => ['--user', 'nobody@example.com'], 'There is no such user.'],
    ['for no service account', () => ['--service-account', UNKNOWN_ID], 'There is nothing here.'],
    [
      'with a scope that the user lacks',
      () => ['--user', user.email, '--scopes', 'read,deploy'],
      'The user does not hold the scope: deploy',
    ],
    [
      'with a reserved scope that the user lacks',
      () => ['--user', user.email, '--scopes', 'latchkey:verify'],
      'The user does not hold the scope: latchkey:verify',
    ],
    [
      'beyond the ceiling of the service account',
      () => ['--service-account', account.id, '--scopes', 'write'],
      'The service account does not hold the scope: write',
    ],
    ['with a malformed scope', () => ['--user', user.email, '--scopes', '*'], 'scopes: Each scope: Must be'],
    ['with a name too long', () => ['--user', user.email, '--name', 'x'.repeat(101)], 'name: Is not'],
    ['with a name of two lines', () => ['--user', user.email, '--name', 'a\nb'], 'name: Is not accepted'],
    [
      'with metadata that is no object',
      () => ['--user', user.email, '--metadata', '[1]'],
      'metadata: Is not accepted',
    ],
    [
      'with metadata that is no JSON',
      () => ['--user', user.email, '--metadata', '{a}'],
      'metadata: Must be JSON',
    ],
    ['with a rate of none', () => ['--user', user.email, '--rate-limit', '0/60'], 'rate-limit/limit: Is not'],
    [
      'with a rate in words',
      () => ['--user', user.email, '--rate-limit', 'few'],
      'rate-limit: Must look like',
    ],
    [
      'with a refill in words',
      () => ['--user', user.email, '--refill', '5/hourly'],
      'refill: Must look like',
    ],
    [
      'with an expiry in the past',
      () => ['--user', user.email, '--expires-at', '2020-01-01T00:00:00Z'],
      'expires_at: Must lie in the future',
    ],
    [
      'with two expiries',
      () => ['--user', user.email, '--expires-at', '2099-01-01T00:00:00Z', '--expires-in-days', '1'],
      'expires_at: Give expires_in_days or expires_at, not both',
    ],
    [
      'with a malformed network',
      () => ['--user', user.email, '--allowed-ips', '192.0.2.0/33'],
      'allowed_ips/0: Must be an address or a CIDR',
    ],
  ])('%s', async (_, words, sentence) => {
    const count = async () => (await sql`SELECT count(*)::int AS keys FROM latchkey.api_keys`)[0]?.keys
    const before = await count()
    const parsed = parseArguments(create, words())
    if ('fault' in parsed || create.kind !== 'service') throw new Error('The words are not understood')
    const refusal = await create
      .run(service.context, parsed.args, null, () => {}, { ...service, restart: null })
      .then(() => 'none', describeFailure)
    expect(refusal).toStartWith(sentence)
    expect(await count()).toBe(before)
  })
})

test(
  'keys are listed for every owner, one owner, a status, an external id and in pages, or as a table',
  async () => {
    const [first, second] = [
      await addLoggedIn(service, sql, { scopes: LABELLER }),
      await addLoggedIn(service, sql),
    ]
    const add = async (owner: Tokens, json: object = {}) =>
      (await newKey(service, owner.access, { ...json })).id
    const a = await add(first, { name: 'older', external_id: 'x-1' })
    const b = await add(first, { name: 'newer' })
    const c = await add(second)
    await call(service, `DELETE /keys/${b}`, { bearer: first.access })

    const idsOf = async (words: readonly string[]) => {
      const { code, body } = await keysJson(['list', ...words])
      expect(code).toBe(0)
      return body.items.map(({ id }: { id: string }) => id)
    }
    expect(await idsOf(['--user', first.email])).toEqual([b, a])
    expect((await idsOf([])).slice(0, 3)).toEqual([c, b, a])
    expect(await idsOf(['--user', first.id, '--status', 'active'])).toEqual([a])
    expect(await idsOf(['--external-id', 'x-1'])).toEqual([a])
    expect(await idsOf(['--service-account', account.id, '--status', 'revoked'])).toEqual([])
    const page = (await keysJson(['list', '--user', first.email, '--limit', '1'])).body
    expect(page.items).toHaveLength(1)
    const next = await keysJson(['list', '--user', first.email, '--cursor', page.next_cursor])
    expect(next.body).toMatchObject({ items: [{ id: a, status: 'active' }], next_cursor: null })
    expect((await keys(['list', '--cursor', page.next_cursor])).err).toContain('cursor: Is not a cursor')

    const { out } = await keys(['list', '--user', first.email])
    const [headings = '', ...lines] = out.trimEnd().split('\n')
    expect(headings).toMatch(/^START +NAME +STATE +OWNER +SCOPES +EXPIRES +LAST USED +ID$/)
    expect(lines[0]).toMatch(new RegExp(`^sk_\\w{8} +newer +revoked +${first.email} +- +never +never +${b}$`))
    expect(lines[1]).toMatch(new RegExp(`^sk_\\w{8} +older +active .* ${a}$`))
    expect((await keys(['list', '--user', admin.email])).out).toBe('No keys.\n')
  },
  SLOW_MS,
)

test(
  'a revoked key is refused by a running server within a second, together with the keys that it made',
  async () => {
    const make = (bearer: Call, json: object) =>
      call(service, 'POST /keys', { ...bearer, json }).then((answer) => answer.body)
    const parent = await make({ bearer: user.access }, { scopes: ['read', 'latchkey:keys.write'] })
    const child = await make({ apiKey: parent.key }, { scopes: 'read' })
    for (const { key } of [parent, child]) expect((await present(key)).status).toBe(200)

    const revoked = await keys(['revoke', parent.id, '--reason', 'found in a log', '--created'])
    expect(revoked).toEqual({ code: 0, out: `Key ${parent.id} is revoked.\n`, err: '' })
    const isRefused = async () =>
      (await Promise.all([parent, child].map(({ key }) => present(key)))).every(
        ({ status }) => status === 401,
      )
    await until(isRefused, 'both keys are refused', 1000)
    expect((await call(service, `GET /keys/${parent.id}`, { bearer: user.access })).body).toMatchObject({
      is_active: false,
      revoked_reason: 'found in a log',
    })
    expect((await keys(['revoke', parent.id, '--reason', 'another'])).code).toBe(0)
    const again = await call(service, `GET /keys/${parent.id}`, { bearer: user.access })
    expect(again.body.revoked_reason).toBe('found in a log')
    for (const id of ['nonsense', '0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6']) {
      expect(await keys(['revoke', id])).toEqual({
        code: 1,
        out: '',
        err: 'latchkey: There is nothing here.\n',
      })
    }
    expect((await keys(['revoke', child.id, '--reason', 'a\u0007b'])).err).toContain('reason: Must be text')
  },
  SLOW_MS,
)

test(
  'a rotation keeps the id, and keeps the old secret valid for the given time',
  async () => {
    const made = (await keysJson(['create', '--user', user.email, '--scopes', 'read'])).body
    const rotated = await keysJson(['rotate', made.id, '--overlap', '3600'])
    expect(rotated.code).toBe(0)
    expect(rotated.body).toMatchObject({ id: made.id, scopes: ['read'] })
    expect(rotated.body.secrets).toHaveLength(2)
    for (const { key } of [made, rotated.body]) expect((await present(key)).status).toBe(200)
    expect(await keys(['rotate', made.id])).toMatchObject({
      code: 1,
      err: expect.stringContaining('two secrets'),
    })

    const other = (await keysJson(['create', '--user', user.email])).body
    const { code, out } = await keys(['rotate', other.id, '--overlap', '0'])
    expect(code).toBe(0)
    expect(out).toContain('the old one works no more')
    const key = /shown this once: (\S+)\n$/.exec(out)?.[1] ?? ''
    expect((await present(key)).status).toBe(200)
    await until(async () => (await present(other.key)).status === 401, 'the old secret is refused', 1000)
  },
  SLOW_MS,
)

test(
  'verify answers like the route, charges nothing by default, and exits with 1 for a refused key',
  async () => {
    const words = ['--user', user.email, '--name', 'asked', '--scopes', 'read', '--credits', '5']
    const made = (await keysJson(['create', ...words, '--allowed-ips', '192.0.2.7'])).body
    const at = ['--ip', '192.0.2.7']
    const good = await keysJson(['verify', '--scopes', 'read', ...at], `${made.key}\n`)
    expect(good).toMatchObject({ code: 0, body: { valid: true, code: 'VALID', credits: { remaining: 5 } } })
    const charged = await keysJson(['verify', '--cost', '2', ...at], made.key)
    expect(charged.body).toMatchObject({ valid: true, credits: { remaining: 3 } })
    expect(await keys(['verify', ...at], made.key)).toEqual({
      code: 0,
      out: `VALID (key ${made.id})\nName: asked\nOwner: user ${user.email}\nScopes: read\nExpires: never\nCredits: 3\n`,
      err: '',
    })
    expect(await keys(['verify', '--scopes', 'write', ...at], made.key)).toEqual({
      code: 1,
      out: `INSUFFICIENT_SCOPE (key ${made.id})\nMissing scopes: write\n`,
      err: '',
    })
    expect(await keysJson(['verify'], made.key)).toEqual({
      code: 1,
      err: '',
      body: { valid: false, code: 'IP_NOT_ALLOWED', key_id: made.id },
    })
    expect(await keysJson(['verify'], 'sk_nonsense')).toMatchObject({ code: 1, body: { code: 'NOT_FOUND' } })
    expect(await keysJson(['verify', '--ip', 'here'], made.key)).toMatchObject({
      code: 1,
      body: { code: 'IP_NOT_ALLOWED' },
    })
    expect((await keys(['verify'])).err).toContain('there is no key on standard input')
    expect((await keys(['verify', made.key])).code).toBe(2)
  },
  SLOW_MS,
)

test('credits of a key are added, taken away and set, and what cannot be changes nothing', async () => {
  const { id } = await newKey(service, user.access, { credits: { remaining: 10 } })
  const credits = (...words: string[]) => keysJson(['credits', id, ...words])
  expect(await credits('--add', '5')).toMatchObject({ code: 0, body: { id, remaining: 15 } })
  expect(await credits('--add=-15')).toMatchObject({ code: 0, body: { id, remaining: 0 } })
  expect(await credits('--set', '7')).toMatchObject({ code: 0, body: { id, remaining: 7 } })
  expect((await keys(['credits', id, '--add', '1'])).out).toContain('has 8 credits left')
  for (const words of [
    [],
    ['--add', '1', '--set', '1'],
    ['--add', 'many'],
    ['--add', '0'],
    ['--add=-9'],
    ['--set=-1'],
    ['--set', '9999999999999'],
  ])
    expect([words, (await credits(...words)).code === 0]).toEqual([words, false])
  const { body } = await call(service, `GET /keys/${id}`, { bearer: user.access })
  expect(body.credits.remaining).toBe(8)
})
