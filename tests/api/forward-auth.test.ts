import { beforeAll, describe, expect, test } from 'bun:test'
import { IDENTITY_HEADERS } from '../../src/api/forward-auth/identity.ts'
import { writeUsage } from '../../src/core/usage/usage.ts'
import type { ErrorCode } from '../../src/lib/errors.ts'
import { DAY_MS, MINUTE_MS } from '../../src/lib/time.ts'
import { makeApiKey } from '../../src/lib/tokens.ts'
import { type Answer, type Call, call, newKey } from '../support/client.ts'
import { sendRaw } from '../support/http-socket.ts'
import { everyLimit } from '../support/limits.ts'
import { addLoggedIn, addPerson, beginSession } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

let account: string
const keys = {} as Record<'reader' | 'writer' | 'adminKey' | 'accountKey' | 'accountToken', string>
const ids = {} as Record<'reader' | 'accountKey', string>
const service = useService({ corsOrigins: ['https://app.example.com'] })
const sql = useSql(service)
const user = prepare(() => addLoggedIn(service, sql))
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
beforeAll(async () => {
  const reader = await newKey(service, user.access, { scopes: 'read' })
  const json = { name: 'builder', scopes: ['read', 'write'] }
  account = (await call(service, 'POST /service-accounts', { bearer: user.access, json })).body.id
  const accountKey = await newKey(service, user.access, { scopes: 'read,write', service_account_id: account })
  Object.assign(ids, { reader: reader.id, accountKey: accountKey.id })
  const form = { grant_type: 'client_credentials', client_id: account, client_secret: accountKey.key }
  Object.assign(keys, {
    reader: reader.key,
    writer: (await newKey(service, user.access, { scopes: 'write' })).key,
    adminKey: (await newKey(service, admin.access, { scopes: ['read', 'deploy'] })).key,
    accountKey: accountKey.key,
    accountToken: (await call(service, 'POST /oauth/token', { form })).body.access_token,
  })
})

const CALLERS = {
  anonymous: (): Call => ({}),
  user: (): Call => ({ bearer: user.access }),
  admin: (): Call => ({ bearer: admin.access }),
  reader: (): Call => ({ apiKey: keys.reader }),
  writer: (): Call => ({ bearer: keys.writer }),
  "admin's key": (): Call => ({ apiKey: keys.adminKey }),
  "account's key": (): Call => ({ apiKey: keys.accountKey }),
  "account's token": (): Call => ({ bearer: keys.accountToken }),
  stranger: (): Call => ({ bearer: makeApiKey('sk_') }),
}
type Caller = keyof typeof CALLERS

/** The identity headers of an answer. A missing header is null, which differs from an empty one. */
function identityIn({ headers }: Answer): Record<string, string | null> {
  return Object.fromEntries(IDENTITY_HEADERS.map((name) => [name, headers.get(name)]))
}

const NOTHING = Object.fromEntries(IDENTITY_HEADERS.map((name) => [name, '']))

describe('the answer names the caller in its headers, and sets every one', () => {
  test.each<[Caller, () => Record<string, string>]>([
    [
      'user',
      () => ({
        'X-Auth-Type': 'user',
        'X-Auth-Subject': user.id,
        'X-Auth-User-Id': user.id,
        'X-Auth-Role': 'user',
        'X-Auth-Scopes': 'read write',
        'X-Auth-Amr': 'pwd',
      }),
    ],
    [
      'admin',
      () => ({
        'X-Auth-Type': 'user',
        'X-Auth-Subject': admin.id,
        'X-Auth-User-Id': admin.id,
        'X-Auth-Role': 'admin',
        'X-Auth-Scopes': 'read write',
        'X-Auth-Amr': 'pwd',
      }),
    ],
    [
      'reader',
      () => ({
        'X-Auth-Type': 'key',
        'X-Auth-Subject': user.id,
        'X-Auth-User-Id': user.id,
        'X-Auth-Key-Id': ids.reader,
        'X-Auth-Scopes': 'read',
      }),
    ],
    ...(["account's key", "account's token"] as const).map(
      (caller): [Caller, () => Record<string, string>] => [
        caller,
        () => ({
          'X-Auth-Type': 'key',
          'X-Auth-Subject': account,
          'X-Auth-Key-Id': ids.accountKey,
          'X-Auth-Service-Account-Id': account,
          'X-Auth-Scopes': 'read write',
        }),
      ],
    ),
  ])('%s', async (caller, expected) => {
    for (const path of ['/forward-auth', '/forward-auth/any', '/forward-auth/any/a/b?scope=none']) {
      const answer = await call(service, `GET ${path}`, CALLERS[caller]())
      expect([path, answer.status, answer.text]).toEqual([path, 200, ''])
      expect(identityIn(answer)).toEqual({ ...NOTHING, ...expected() })
      expect(answer.headers.get('cache-control')).toBe('no-store')
    }
  })

  test('the e-mail only when it is verified, for a key that of its owner, percent-encoded outside ASCII', async () => {
    const email = "jürgen+100%o'x@exämple.com"
    const person = await addPerson(sql, { email })
    const { access } = await beginSession(service, person)
    const { key } = await newKey(service, access)
    const ask = (bearer: string) => call(service, 'GET /forward-auth', { bearer })
    for (const bearer of [access, key]) expect((await ask(bearer)).headers.get('x-auth-user-email')).toBe('')
    const json = { email_verified: true }
    await call(service, `PATCH /users/${person.id}`, { bearer: admin.access, json })
    for (const bearer of [access, key]) {
      const value = (await ask(bearer)).headers.get('x-auth-user-email') ?? ''
      expect(value).toBe("j%C3%BCrgen+100%25o'x@ex%C3%A4mple.com")
      expect(decodeURIComponent(value)).toBe(email)
    }
  })

  test('the name of a key and its effective external id, percent-encoded outside visible ASCII', async () => {
    const json = { name: 'customer', scopes: ['read'] }
    const { id } = (await call(service, 'POST /service-accounts', { bearer: admin.access, json })).body
    const setOfAccount = (external_id: string | null) =>
      call(service, `PATCH /service-accounts/${id}`, { bearer: admin.access, json: { external_id } })
    await setOfAccount('Zoë/42')
    const bare = await newKey(service, admin.access, { service_account_id: id, scopes: 'read' })
    const named = await newKey(service, admin.access, { service_account_id: id, name: ' 100% ключ' })
    const shown = async (bearer: string) => {
      const { headers } = await call(service, 'GET /forward-auth', { bearer })
      return [headers.get('x-auth-key-name'), headers.get('x-auth-external-id')]
    }
    expect(await shown(bare.key)).toEqual(['', 'Zo%C3%AB/42'])
    expect(await shown(named.key)).toEqual(['%20100%25%20%D0%BA%D0%BB%D1%8E%D1%87', 'Zo%C3%AB/42'])
    const patch = { external_id: 'own !~%' }
    await call(service, `PATCH /keys/${bare.id}`, { bearer: admin.access, json: patch })
    expect(await shown(bare.key)).toEqual(['', 'own%20!~%25'])
    await setOfAccount(null)
    expect(await shown(named.key)).toEqual(['%20100%25%20%D0%BA%D0%BB%D1%8E%D1%87', ''])
    expect(await shown(user.access)).toEqual(['', ''])
    expect(await shown(keys.reader)).toEqual(['', ''])
  })

  test('a refusal names no caller', async () => {
    for (const caller of ['anonymous', 'stranger', 'user'] as const) {
      const answer = await call(service, 'GET /forward-auth?role=admin', CALLERS[caller]())
      expect(answer.status).toBeOneOf([401, 403])
      expect([...answer.headers.keys()].filter((name) => name.startsWith('x-auth'))).toEqual([])
    }
  })
})

describe('a policy authorizes the callers that it names', () => {
  const OK = 200
  test.each<[string, Partial<Record<Caller, typeof OK | ErrorCode>>]>([
    ['', { user: OK, admin: OK, reader: OK, "account's token": OK }],
    ['kind=any', { user: OK, reader: OK }],
    [
      'kind=user',
      { user: OK, admin: OK, reader: 'wrong_credential_kind', "account's token": 'wrong_credential_kind' },
    ],
    ['kind=key', { user: 'wrong_credential_kind', reader: OK, "account's key": OK, "account's token": OK }],
    ['scope=read', { user: OK, reader: OK, writer: 'insufficient_scope', "account's key": OK, admin: OK }],
    [
      'scope=read,write',
      { user: OK, reader: 'insufficient_scope', writer: 'insufficient_scope', "account's key": OK },
    ],
    [
      'scope=deploy',
      { user: 'insufficient_scope', admin: OK, "admin's key": OK, reader: 'insufficient_scope' },
    ],
    [
      'scope=latchkey:users.read',
      { user: 'insufficient_scope', admin: OK, "admin's key": 'insufficient_scope' },
    ],
    [
      'role=admin',
      {
        user: 'forbidden',
        admin: OK,
        "admin's key": 'wrong_credential_kind',
        reader: 'wrong_credential_kind',
      },
    ],
    ['role=admin&scope=deploy&kind=user', { user: 'forbidden', admin: OK }],
    [
      'mfa=true',
      { user: 'forbidden', admin: 'forbidden', reader: 'forbidden', "account's token": 'forbidden' },
    ],
    ['kind=key&scope=write', { user: 'wrong_credential_kind', reader: 'insufficient_scope', writer: OK }],
    [
      'kind=key&role=admin',
      {
        user: 'wrong_credential_kind',
        admin: 'wrong_credential_kind',
        "admin's key": 'wrong_credential_kind',
      },
    ],
  ])('%p', async (policy, expected) => {
    const targets = [
      policy === '' ? '/forward-auth' : `/forward-auth?${policy}`,
      `/forward-auth/${policy || 'any'}/x`,
    ]
    const whole = { anonymous: 'missing_credential', stranger: 'invalid_token', ...expected } as const
    for (const [caller, outcome] of Object.entries(whole) as [Caller, typeof OK | ErrorCode][]) {
      for (const target of targets) {
        const answer = await call(service, `GET ${target}`, CALLERS[caller]())
        expect([caller, target, answer.status === OK ? OK : answer.body.code]).toEqual([
          caller,
          target,
          outcome,
        ])
        if (outcome !== OK) expectProblem(answer, outcome)
      }
    }
  })

  test('a refusal says what is missing, like every route', async () => {
    const anonymous = await call(service, 'GET /forward-auth')
    expect(anonymous.headers.get('www-authenticate')).toBe('Bearer realm="latchkey"')
    const stranger = await call(service, 'GET /forward-auth', CALLERS.stranger())
    expect(stranger.headers.get('www-authenticate')).toBe('Bearer realm="latchkey", error="invalid_token"')
    const writer = await call(service, 'GET /forward-auth?scope=read', CALLERS.writer())
    expect(writer.headers.get('www-authenticate')).toBe(
      'Bearer realm="latchkey", error="insufficient_scope", scope="read"',
    )
    expect(writer.body.detail).toBe('Missing required scope: read')
  })

  test('a refusal for another service is not audited', async () => {
    const [before] = await sql`SELECT count(*)::int AS n FROM latchkey.audit_events`
    for (const policy of ['role=admin', 'scope=deploy', 'kind=key'])
      expect((await call(service, `GET /forward-auth?${policy}`, CALLERS.user())).status).toBe(403)
    const [after] = await sql`SELECT count(*)::int AS n FROM latchkey.audit_events`
    expect(after?.n).toBe(before?.n)
  })
})

describe('an invalid policy refuses every caller, and is logged', () => {
  const POLICIES = [
    '',
    'any',
    'scope',
    'scope=',
    '=read',
    '&',
    'scope=read&',
    '&scope=read',
    'scope=read&scope=read',
    'scope=read&scope=write',
    'kind=any&kind=user',
    'scope=read,',
    'scope=,',
    'scope=read,read',
    'scope=read+write',
    'scope=READ',
    'Scope=read',
    'scope=read=write',
    'scope=r%65ad',
    'scope=read%2Cwrite',
    'scope=read%26kind=any',
    'scope=read;kind=any',
    'scope=read#x',
    'scope=read/..',
    'scope=..',
    'scope=*',
    `scope=${'a'.repeat(65)}`,
    `scope=${Array.from({ length: 51 }, (_, i) => `s${i}`).join()}`,
    'scope[]=read',
    'kind=admin',
    'kind=service',
    'kind=user,key',
    'role=user',
    'role=admin,user',
    'role=',
    'roles=admin',
    'scopes=read',
    'user=any',
    '__proto__=admin',
    'constructor=x',
    '?scope=read',
    'kind=any?kind=user',
    'access_token=secret',
  ]
  test.each(POLICIES)('?%s', async (policy) => {
    for (const bearer of [admin.access, keys.reader, 'garbage']) {
      const from = service.logged().length
      const { status, body, head } = await sendRaw(service, `GET /forward-auth?${policy}`, [
        `Authorization: Bearer ${bearer}`,
      ])
      expect([status, JSON.parse(body).code]).toEqual([400, 'invalid_request'])
      expect(head.toLowerCase()).not.toContain('x-auth-')
      const said = service
        .logged()
        .slice(from)
        .filter(({ level }) => level === 'error')
      expect(said).toMatchObject([
        { fault: JSON.parse(body).detail, request_id: JSON.parse(body).request_id },
      ])
      expect(JSON.stringify(said)).not.toContain('secret')
    }
  })

  test('the text of the policy is neither answered nor logged, because it may be a misplaced secret', async () => {
    for (const policy of [
      keys.reader,
      `${keys.reader}=1`,
      `scope=${keys.reader}`,
      `kind=any&${user.access}=1`,
    ]) {
      const answer = await call(service, `GET /forward-auth?${policy}`, CALLERS.user())
      expectProblem(answer, 'invalid_request')
      for (const text of [answer.text, service.loggedText()]) {
        expect(text).not.toContain(keys.reader.slice(3, 20))
        expect(text).not.toContain(user.access.slice(-20))
      }
    }
    expect((await call(service, 'GET /forward-auth?scopes=read')).body.detail).toContain('scopes')
  })

  test.each(POLICIES.filter((policy) => policy !== 'any' && !/[?#]/.test(policy)))('/%s/', async (policy) => {
    for (const rest of ['', '/', '/x', '//x']) {
      const { status } = await sendRaw(service, `GET /forward-auth/${policy}${rest}`, [
        `X-API-Key: ${keys.reader}`,
      ])
      expect([rest, status]).toEqual([rest, 400])
    }
  })
})

describe('two credentials are refused as an invalid one', () => {
  test.each<[string, () => string[]]>([
    ['a token and a key', () => [`Authorization: Bearer ${user.access}`, `X-API-Key: ${keys.reader}`]],
    [
      'the same twice',
      () => [`Authorization: Bearer ${keys.reader}`, `Authorization: Bearer ${keys.reader}`],
    ],
    ['two keys', () => [`X-API-Key: ${keys.reader}`, `X-API-Key: ${keys.writer}`]],
    ['an empty one beside a good one', () => ['X-API-Key:', `Authorization: Bearer ${user.access}`]],
  ])('%s', async (_, headers) => {
    const { status, head, body } = await sendRaw(service, 'GET /forward-auth', headers())
    expect([status, JSON.parse(body).code]).toEqual([401, 'invalid_token'])
    expect(head).toContain('error="invalid_token"')
    expect(head.toLowerCase()).not.toContain('x-auth-')
  })
})

describe('a use of a key counts like one at /keys/verify', () => {
  const ask = (key: string, headers: Record<string, string> = {}, policy = 'scope=read') =>
    call(service, `GET /forward-auth?${policy}`, { apiKey: key, headers })

  test('against its rate limit, and only when every earlier check passed', async () => {
    const rate_limit = { limit: 2, window_seconds: 600 }
    const { key } = await newKey(service, user.access, { scopes: 'read', rate_limit })
    for (let i = 0; i < 3; i++) expectProblem(await ask(key, {}, 'scope=write'), 'insufficient_scope')
    for (let i = 0; i < 3; i++) expectProblem(await ask(key, {}, 'kind=user'), 'wrong_credential_kind')
    expect([(await ask(key)).status, (await ask(key)).status]).toEqual([200, 200])
    const refused = await ask(key)
    expectProblem(refused, 'rate_limited')
    expect(refused.headers.get('ratelimit-limit')).toBe('2')
    expect(refused.headers.get('ratelimit-remaining')).toBe('0')
    for (const name of ['ratelimit-reset', 'retry-after'])
      expect(Number(refused.headers.get(name))).toBeWithin(1, 601)
    // Every route counts the same uses: another route has none left either.
    expect((await call(service, 'GET /protected/service-only', { apiKey: key })).status).toBe(429)
  })

  test('against its credits, which come back at the refill', async () => {
    const untilMidnight = () => DAY_MS - (service.context.clock() % DAY_MS)
    if (untilMidnight() < MINUTE_MS) service.advance(2 * MINUTE_MS)
    const refill = { amount: 5, interval: 'daily' }
    const refilled = await newKey(service, user.access, { scopes: 'read', credits: { remaining: 2, refill } })
    const spent = await newKey(service, user.access, { scopes: 'read', credits: { remaining: 1 } })
    for (let i = 0; i < 2; i++) expect((await ask(refilled.key)).status).toBe(200)
    const before = untilMidnight()
    const answer = await ask(refilled.key)
    expectProblem(answer, 'credits_exhausted')
    // In whole seconds, rounded up.
    expect(Number(answer.headers.get('retry-after')) * 1000).toBeWithin(untilMidnight(), before + 1000)
    expect((await ask(spent.key)).status).toBe(200)
    const ended = await ask(spent.key)
    expectProblem(ended, 'credits_exhausted')
    expect(ended.headers.has('retry-after')).toBe(false)
    const limits = [answer, ended].map(({ headers }) => headers.get('ratelimit-limit'))
    expect(limits).toEqual(['5', '0'])
    const { body } = await call(service, `GET /keys/${refilled.id}`, { bearer: user.access })
    expect(body.credits.remaining).toBe(0)
  })

  test('many uses at the same time take no more credits than the key has', async () => {
    const credits = { remaining: 7 }
    const { key } = await newKey(service, user.access, { scopes: 'read', credits })
    const answers = await Promise.all(Array.from({ length: 40 }, () => ask(key)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(7)
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(33)
  })

  test('and every outcome is in the usage of the key', async () => {
    const rate_limit = { limit: 2, window_seconds: 600 }
    const { id, key } = await newKey(service, user.access, { scopes: 'read', rate_limit })
    await ask(key)
    await ask(key)
    await ask(key)
    await ask(key, {}, 'scope=write')
    await call(service, `DELETE /keys/${id}`, { bearer: user.access })
    await ask(key)
    await writeUsage(service.context)
    const { items } = (await call(service, `GET /keys/${id}/usage`, { bearer: user.access })).body
    const counts = Object.fromEntries(
      items.map(({ outcome, count }: { outcome: string; count: number }) => [outcome, count]),
    )
    expect(counts).toEqual({ VALID: 2, RATE_LIMITED: 1, INSUFFICIENT_SCOPE: 1, REVOKED: 1 })
  })

  test('from its allowed addresses: that of the client, where a trusted proxy names it', async () => {
    const allowed_ips = ['192.0.2.0/24', '127.0.0.1']
    const { key } = await newKey(service, user.access, { scopes: 'read', allowed_ips })
    const forwarded = { 'x-forwarded-for': '198.51.100.7' }
    // Without trusted proxies the header is ignored, and the peer is an allowed address.
    expect((await ask(key, forwarded)).status).toBe(200)
    const behind = await startService({ trustedProxies: ['127.0.0.1/32'] }, service)
    try {
      const at = (client: string) =>
        call(behind, 'GET /forward-auth?scope=read', { apiKey: key, headers: { 'x-forwarded-for': client } })
      expect((await at('192.0.2.9')).status).toBe(200)
      expectProblem(await at('198.51.100.7'), 'ip_not_allowed')
      expectProblem(await at('192.0.2.9, 198.51.100.7'), 'ip_not_allowed')
    } finally {
      await behind.stop()
    }
  })
})

describe('limits per address', () => {
  const plenty = { limit: 100_000, windowSeconds: 600 }
  const few = { limit: 3, windowSeconds: 600 }

  test('count failures, and never a valid credential', async () => {
    const rateLimits = { ...everyLimit(plenty), unknown_credential: few, other: few }
    const limited = await startService({ rateLimits }, service)
    const ask = (options: Call, policy = '') => call(limited, `GET /forward-auth${policy}`, options)
    try {
      for (let i = 0; i < 8; i++) {
        expect((await ask({ apiKey: keys.reader })).status).toBe(200)
        expect((await ask({ apiKey: keys.reader }, '?scope=write')).status).toBe(403)
      }
      expectProblem(await ask({}), 'missing_credential')
      expectProblem(await ask({ bearer: 'garbage' }), 'invalid_token')
      expectProblem(await ask({ bearer: keys.reader, apiKey: keys.reader }), 'invalid_token')
      for (const options of [{}, { bearer: 'garbage' }, { bearer: keys.reader, apiKey: keys.reader }]) {
        const answer = await ask(options)
        expectProblem(answer, 'rate_limited')
        expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
      }
      expect((await ask({ apiKey: keys.reader })).status).toBe(200)
      // Invalid policies have a limit of their own, so that they cannot fill the log.
      for (let i = 0; i < 3; i++) expect((await ask({}, '?x')).status).toBe(400)
      const errors = () => limited.logged().filter(({ level }) => level === 'error').length
      const before = errors()
      expect((await ask({}, '?x')).status).toBe(429)
      expect(errors()).toBe(before)
    } finally {
      await limited.stop()
    }
  })
})

describe('without a database', () => {
  test('a credential that is not cached and a key that is charged get 503', async () => {
    const stuck = await startService({ databaseStatementTimeoutMs: 1000 }, service)
    const credits = { remaining: 100 }
    const charged = (await newKey(service, user.access, { scopes: 'read', credits })).key
    const ask = (options: Call) => call(stuck, 'GET /forward-auth?scope=read', options)
    try {
      for (const apiKey of [charged, keys.reader]) expect((await ask({ apiKey })).status).toBe(200)
      await sql.begin(async (tx) => {
        await tx`LOCK TABLE latchkey.api_key_secrets, latchkey.api_key_credits, latchkey.sessions`
        const stuckFor = [{ apiKey: charged }, { apiKey: keys.accountKey }, { bearer: user.access }]
        const [known, anonymous, ...refused] = await Promise.all(
          [{ apiKey: keys.reader }, {}, ...stuckFor].map((options) => ask(options)),
        )
        for (const answer of refused) {
          expectProblem(answer, 'unavailable')
          expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
        }
        // A cached credential and a missing one need no database.
        expect([known?.status, anonymous?.status, refused.length]).toEqual([200, 401, 3])
      })
      expect((await ask({ apiKey: charged })).status).toBe(200)
    } finally {
      await stuck.stop()
    }
  })
})
