import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { FormatRegistry } from '@sinclair/typebox'
import { createAddressOf } from '../../src/api/client-address.ts'
import { readCredential } from '../../src/api/credential.ts'
import { parsePolicy } from '../../src/api/forward-auth/policy.ts'
import { readTrace } from '../../src/api/trace.ts'
import { faultOfPasswordHash, secretOfHash, secretOfKey } from '../../src/core/import/credentials.ts'
import { importedId } from '../../src/core/import/shape.ts'
import { readClient } from '../../src/core/oauth/client.ts'
import { createPasswordHasher } from '../../src/core/passwords/hasher.ts'
import { requirePassword } from '../../src/core/passwords/policy.ts'
import { normaliseEmail } from '../../src/core/users/email.ts'
import { readCursor } from '../../src/lib/cursor.ts'
import { isId } from '../../src/lib/ids.ts'
import { parseAddress, parseNetwork } from '../../src/lib/ip.ts'
import { createLog, silentLog } from '../../src/lib/log.ts'
import { BASE64URL, Description, READABLE } from '../../src/lib/model.ts'
import { parseScopes } from '../../src/lib/scopes.ts'
import { parseInstant } from '../../src/lib/time.ts'
import { isMistypedApiKey, readRefreshToken } from '../../src/lib/tokens.ts'
import { type Answer, call } from '../support/client.ts'
import { testConfig } from '../support/config.ts'
import { faultOfCost, LARGE } from '../support/cost.ts'
import { expressionOf, faultOfExpression, findReaders, readersOf } from '../support/expressions.ts'
import { addLoggedIn, connectTo } from '../support/people.ts'
import { startService, type TestService } from '../support/service.ts'

const readers = [...(await findReaders('src')), ...(await findReaders('client'))]

/** Of `POST /keys/lookup`: one class of characters, of a fixed number. */
const HASH = "'^[0-9a-fA-F]{64}$'"
/** Of a resource: one class of characters, as often as its schema allows. */
const SLUG = "'^[a-z0-9-]+$'"
/** Of a question and of a report of a region: one class of characters, of a bounded number. */
const REGION_HASH = "'^[0-9a-f]{64}$'"
const REGION = "'^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$'"

describe('no regular expression takes more than linear time', () => {
  const literals = new Set(readers.flatMap(({ kind, text }) => (kind === 'literal' ? [text] : [])))
  test.each([...literals])('%s', (literal) => {
    expect(faultOfExpression(expressionOf(literal))).toBeNull()
  })

  test.each([
    ['a name', READABLE],
    ['a part of a passkey', BASE64URL],
    ['a hash', HASH.slice(1, -1)],
    ['a description', String(Description.pattern)],
    ['a slug', SLUG.slice(1, -1)],
    ['a hash that a region asks about', REGION_HASH.slice(1, -1)],
    ['the name of a region', REGION.slice(1, -1)],
  ])('the pattern of %s', (_, pattern) => {
    expect(faultOfExpression(new RegExp(pattern))).toBeNull()
  })

  test.each(['uuid', 'date-time'])('the format %s of the framework', (format) => {
    const fits = FormatRegistry.Get(format)
    if (!fits) throw new Error('There is no such format')
    for (const unit of WORST) expect(faultOfCost(fits, filled('2026-01-01T00:00:00.', unit))).toBeNull()
  })

  test.each([
    '/^basic +([A-Za-z0-9+/]*={0,2}) *$/i',
    '/\\/+$/',
    '/^(a+)+$/',
    '/^(\\w|[a-z])*$/',
    '/\\beyJ[\\w-]+\\.[\\w-]*/',
    '/(?<=:\\/\\/[^\\s:/@]*:)[^\\s@]+(?=@)/g',
  ])('the control: an expression that takes more is found: %s', (literal) => {
    expect(faultOfExpression(expressionOf(literal))).toBeString()
  })
})

describe('other code that reads text is listed here, and bounded', () => {
  const listOf = (kind: string) =>
    readers.flatMap((reader) => (reader.kind === kind ? [`${reader.file}: ${reader.text}`] : []))

  /** The only such expression is one repeated class of characters, for a part of an e-mail. */
  test('expressions that are built at run time: one, which cannot backtrack', () => {
    expect(listOf('made')).toEqual([expect.stringContaining('src/core/users/email.ts: new RegExp(')])
  })

  test('patterns of schemas: the ones that are tried above', () => {
    const names = listOf('pattern').map((each) => each.split(': ')[1])
    expect([...new Set(names)].sort()).toEqual([
      HASH,
      REGION_HASH,
      SLUG,
      REGION,
      'BASE64URL',
      'READABLE',
      'READABLE_LINES',
    ])
  })

  /** Normalisation is quadratic for sequences of marks. Each use is tried below, or reads only an operator's text. */
  test('Unicode normalisation: only of text whose length is checked before', () => {
    expect(listOf('normalize').sort()).toEqual([
      "src/config/secrets.ts: password.reveal().normalize('NFC')",
      "src/core/passwords/policy.ts: password.normalize('NFC')",
      "src/core/users/email.ts: email.normalize('NFKC')",
      "src/core/users/email.ts: trimmed.normalize('NFC')",
      "src/core/users/email.ts: trimmed.normalize('NFC').toLowerCase().normalize('NFC')",
      "src/lib/external-id.ts: text.normalize('NFC')",
      "src/lib/search.ts: query.normalize('NFKC')",
    ])
  })

  test('the control: a new use of each kind is found', () => {
    const source = `
      const a = /x+/u.test(text), b = new RegExp(text), c = RegExp('y'), d = { pattern: '^a$' }
      const e = text.normalize('NFC'), f = 4 / 2 / 1 // /no/`
    const found = readersOf('a.ts', source).map(({ kind, text }) => `${kind} ${text}`)
    expect(found).toEqual([
      'literal /x+/u',
      'made new RegExp(text)',
      "made RegExp('y')",
      "pattern '^a$'",
      "normalize text.normalize('NFC')",
    ])
  })
})

/** The units that are repeated: separators of every form, combining marks, halves of surrogate pairs, digits. */
const WORST = [
  '\u0301\u0316',
  '\ud83d',
  ' ',
  '\t',
  ',',
  ', ',
  '.',
  ':',
  '::',
  '/',
  '%',
  '%41',
  '=',
  '&',
  'a',
  '0',
]
const MORE = [
  '://',
  '-eyJ',
  'a=',
  'a&',
  'a,',
  '10.0.0.1,',
  '1:',
  '@',
  'a@',
  'eyJ',
  '.a',
  '-',
  '{',
  '[',
  '"',
  '\\',
  '\ufdfa',
]
const UNITS = [...WORST, ...MORE]

/** A text of a beginning and one repeated unit, up to a length. */
const filled = (beginning: string, unit: string) => (length: number) =>
  beginning + unit.repeat(Math.ceil(length / unit.length))

describe('each function that reads request text takes at most linear time', () => {
  const keys = [new Uint8Array(32)]
  const headersOf = (name: string) => (text: string) => {
    const request = { headers: { get: (asked: string) => (asked === name ? text : null) } }
    return request as unknown as Request
  }
  const refused = (work: () => unknown) => {
    try {
      return work()
    } catch {
      return null
    }
  }
  const config = testConfig({ trustedProxies: ['10.0.0.0/8'] })
  const addressOf = createAddressOf(config, silentLog)
  const peer = { requestIP: () => ({ address: '10.0.0.1' }) }
  const log = createLog({ logLevel: 'info', logFormat: 'json' }, () => {})

  const cases: Record<string, [work: (text: string) => unknown, beginnings?: string[]]> = {
    'a credential': [
      (text) =>
        refused(() =>
          readCredential(
            { apiKeyHeaders: ['apikey'], apiKeySchemes: ['token'] },
            headersOf('authorization')(text),
          ),
        ),
      ['', 'Bearer ', 'bearer x'],
    ],
    'a key in its header': [
      (text) =>
        refused(() =>
          readCredential(
            { apiKeyHeaders: ['apikey'], apiKeySchemes: ['token'] },
            headersOf('x-api-key')(text),
          ),
        ),
    ],
    "a client's credentials": [
      (text) => refused(() => readClient(text, {})),
      ['', 'Basic', 'Basic ', 'Basic YTpi'],
    ],
    'a trace': [(text) => readTrace(headersOf('traceparent')(text)), ['', '00-']],
    'who forwarded it': [(text) => addressOf(headersOf('x-forwarded-for')(text), peer)],
    'an address': [parseAddress, ['', '1.1.1.1%', '::']],
    'a network': [parseNetwork, ['', '1.1.1.1/', '::/']],
    'a policy': [parsePolicy, ['', 'scope=', 'kind=']],
    scopes: [parseScopes],
    'a cursor': [(text) => refused(() => readCursor(keys, 'list', text))],
    'an instant': [parseInstant, ['', '2026-01-01T00:00:00.']],
    'an id': [isId],
    'a refresh token': [(text) => readRefreshToken(keys, text), ['', 'rt_']],
    'an API key': [(text) => isMistypedApiKey('sk_', text), ['', 'sk_']],
    'an e-mail address': [normaliseEmail, ['', 'a@']],
    'a key to import': [(text) => secretOfKey('sk_', text)],
    'a hash to import': [(text) => secretOfHash(text, 'base64', null)],
    "a password's hash to import": [faultOfPasswordHash, ['', '$2b$', '$argon2id$v=19$m=1,t=1,p=1$']],
    'the id of something to import': [(text) => importedId(text, null)],
    'what goes into the log': [(text) => log.info({ text }, text), ['', '://a:']],
  }
  for (const [name, [work, beginnings = ['']]] of Object.entries(cases)) {
    test(name, () => {
      for (const beginning of beginnings)
        for (const unit of UNITS) {
          const fault = faultOfCost(work, filled(beginning, unit))
          if (fault !== null) throw new Error(`${fault}: ${JSON.stringify(beginning + unit)}…`)
        }
    })
  }
})

describe('a password of any length', () => {
  // Milliseconds for the longest password that the schema accepts. Normalisation is quadratic.
  const marks = (length: number) => `a${'\u0301\u0316'.repeat(length / 2)}`

  test('is refused by its bytes before it is normalised, when it is chosen and when it is checked', async () => {
    const seen: number[] = []
    const normalize = String.prototype.normalize
    String.prototype.normalize = function (form?: string) {
      seen.push(Buffer.byteLength(String(this)))
      return normalize.call(this, form)
    }
    try {
      const hasher = createPasswordHasher({ passwordHashConcurrency: 1 })
      const caller = { address: null, account: 'someone@example.com' }
      await requirePassword(testConfig(), 'someone@example.com', marks(8000)).catch(() => {})
      expect(await hasher.verify(marks(8000), null, caller)).toBe(false)
      expect(seen).toEqual([])
      await requirePassword(testConfig(), 'someone@example.com', marks(500))
      expect(await hasher.verify(marks(500), null, caller)).toBe(false)
      expect(seen).toEqual([1001, 1001])
    } finally {
      String.prototype.normalize = normalize
    }
  })
})

describe('over HTTP, the cost of a request grows at most linearly with its length', () => {
  let service: TestService
  let access: string
  beforeAll(async () => {
    service = await startService({
      trustedProxies: ['127.0.0.0/8', '10.0.0.0/8'],
      corsOrigins: ['https://a.test'],
    })
    const sql = connectTo(service)
    access = (await addLoggedIn(service, sql, { role: 'admin' })).access
    await sql.end()
  })
  afterAll(() => service.stop())

  /** The head of a request may have at most `LARGE` bytes in total. */
  const HEADER = LARGE - 512
  const UNFELT_MS = 8
  const MOST_GROWTH = 8
  const ROUNDS = 3
  const TRIES = 4

  type Send = (text: string) => Promise<Answer>

  async function timeOf(send: Send, text: string): Promise<number> {
    const start = performance.now()
    const { status, headers } = await send(text)
    const ms = performance.now() - start
    // A request that the server itself refuses would prove nothing.
    expect([status, headers.has('x-request-id')]).toEqual([expect.any(Number), true])
    expect(status).toBeLessThan(500)
    return ms
  }

  async function leastOf(send: Send, text: string): Promise<number> {
    let least = Infinity
    for (let i = 0; i < TRIES; i++) least = Math.min(least, await timeOf(send, text))
    return least
  }

  /** Null where the time grows at most linearly in one of several rounds. Other work may disturb the remaining rounds. */
  async function growthOf(send: Send, small: string, large: string): Promise<string | null> {
    let fault = ''
    for (let round = 0; round < ROUNDS; round++) {
      const smallMs = await leastOf(send, small)
      const largeMs = await leastOf(send, large)
      if (largeMs < UNFELT_MS || largeMs < MOST_GROWTH * smallMs) return null
      fault = `${largeMs} ms, a quarter of it ${smallMs} ms`
    }
    return fault
  }

  async function expectCheap(
    send: Send,
    { units, beginning = '', end = '', length = HEADER }: Partial<Text> & Pick<Text, 'units'>,
  ) {
    for (const unit of units) {
      const textOf = (characters: number) =>
        filled(beginning, unit)(characters - beginning.length - unit.length) + end
      if ((await timeOf(send, textOf(length))) < UNFELT_MS) continue
      const fault = await growthOf(send, textOf(length / 4), textOf(length))
      if (fault !== null) throw new Error(`${JSON.stringify(beginning + unit)}: ${fault}`)
    }
  }
  type Text = { units: string[]; beginning: string; end: string; length: number }

  const ascii = UNITS.filter((unit) => /^[\x20-\x7e]+$/.test(unit))
  const headers: [name: string, route: string, beginnings: string[]][] = [
    ['authorization', 'GET /auth/me', ['', 'Bearer ', 'Bearer x', 'Basic ']],
    ['authorization', 'POST /oauth/introspect', ['Basic ', 'Basic YTpi ', 'Bearer ']],
    ['x-api-key', 'GET /protected/any', ['']],
    ['x-forwarded-for', 'GET /health', ['']],
    ['traceparent', 'GET /health', ['', '00-']],
    ['x-request-id', 'GET /health', ['']],
    ['origin', 'GET /health', ['', 'https://']],
    ['cookie', 'GET /health', ['', 'a=']],
    ['user-agent', 'POST /auth/login', ['']],
    ['accept-encoding', 'GET /health', ['', 'gzip;q=']],
    [
      'content-type',
      'POST /auth/login',
      ['', 'application/json;', 'application/json; charset="', 'multipart/form-data; boundary='],
    ],
    ['idempotency-key', 'POST /keys/create', ['']],
    ['if-none-match', 'GET /docs', ['', 'W/"']],
  ]
  test.each(headers)(
    'in the header %s of %s',
    async (name, route, beginnings) => {
      const isForm = route.includes('/oauth/')
      const send = (text: string) =>
        call(service, route, {
          ...(isForm ? { form: { token: 'x' } } : {}),
          ...(route.includes('login') ? { raw: '{}' } : {}),
          headers: {
            'content-type': isForm ? 'application/x-www-form-urlencoded' : 'application/json',
            [name]: text,
          },
        })
      for (const beginning of beginnings)
        for (const end of ['', '!']) await expectCheap(send, { units: ascii, beginning, end })
    },
    240_000,
  )

  const targets = [
    '/',
    '/health/',
    '/keys/',
    '/forward-auth?',
    '/forward-auth?scope=',
    '/forward-auth/scope=',
    '/forward-auth/any/',
    '/docs/',
    '/keys/list?cursor=',
    '/keys/list?external_id=',
    '/audit?from=',
    '/users?query=',
    '/keys/list?',
  ]
  test.each(targets)(
    'in the target %s',
    async (target) => {
      const send = (text: string) => call(service, `GET ${target}${text}`, { bearer: access })
      const units = ascii.flatMap((unit) => [encodeURI(unit), encodeURIComponent(unit)])
      const fit = [...new Set(units)].filter((unit) => !/[\s#]/.test(unit))
      // The caller's token is in the same head.
      await expectCheap(send, { units: fit, length: HEADER - 1024 })
    },
    240_000,
  )

  /** Each guess is for another account, so that no account gets locked. */
  let accounts = 0
  const freshEmail = () => `worst-${++accounts}@example.com`
  const logInAt: Record<string, Send> = {
    'POST /auth/login': (password) =>
      call(service, 'POST /auth/login', { json: { email: freshEmail(), password } }),
    'POST /oauth/token': (password) =>
      call(service, 'POST /oauth/token', {
        form: { grant_type: 'password', username: freshEmail(), password },
      }),
    'POST /auth/signup': (password) =>
      call(service, 'POST /auth/signup', { json: { email: freshEmail(), password } }),
  }
  test.each(Object.entries(logInAt))('in a password at %s, as long as it may be', async (_, send) => {
    await expectCheap(send, { units: UNITS, length: 8000 })
  })

  const createWith = (json: object) => call(service, 'POST /keys/create', { bearer: access, json })
  const members: Record<string, Send> = {
    'email of a login': (email) => call(service, 'POST /auth/login', { json: { email, password: 'x' } }),
    'username of a grant': (username) =>
      call(service, 'POST /oauth/token', { form: { grant_type: 'password', username, password: 'x' } }),
    'scope of a grant': (scope) =>
      call(service, 'POST /oauth/token', { form: { grant_type: 'client_credentials', scope } }),
    'token to revoke': (token) => call(service, 'POST /oauth/revoke', { form: { token } }),
    'refresh token': (refresh_token) => call(service, 'POST /auth/refresh', { json: { refresh_token } }),
    'name of a key': (name) => createWith({ name }),
    'scopes of a key': (scopes) => createWith({ scopes }),
    'expiry of a key': (expires_at) => createWith({ expires_at }),
    'address of a key': (text) => createWith({ allowed_ips: [text] }),
    'metadata of a key': (text) => createWith({ metadata: { text } }),
    'name of an unknown member': (text) => createWith({ [text]: 1 }),
  }
  test.each(Object.entries(members))('in the %s', async (_, send) => {
    for (const length of [HEADER, 8000]) await expectCheap(send, { units: UNITS, length })
  })
})
