import { beforeAll, describe, expect, test } from 'bun:test'
import { isOAuthPath } from '../../src/api/oauth-path.ts'
import { OWN, signIn } from '../support/browser.ts'
import { type Call, logIn, newKey, newPerson } from '../support/client.ts'
import {
  call,
  documentOf,
  type OpenApiDocument,
  type Operation,
  operationsOf,
  resolveIn,
} from '../support/described.ts'
import { sendRaw } from '../support/http-socket.ts'
import { faultsOf, type Schema } from '../support/json-schema.ts'
import { useService, useSql } from '../support/use-service.ts'

type Route = { method: string; path: string; operation: Operation }

const FORM = 'application/x-www-form-urlencoded'
const LIMIT_BYTES = 64 * 1024

const service = useService({ oauthRegistration: 'open', rateLimits: null })
const sql = useSql(service)
let document: OpenApiDocument
let routes: Route[]
let bearer: string
let inBrowser: Record<string, string>
/** Existing rows, which a wrong request might change by accident. */
let ids: { key: string; user: string }
beforeAll(async () => {
  document = await documentOf(service)
  routes = operationsOf(document)
  const person = await newPerson(service)
  await sql`UPDATE latchkey.users SET role = 'admin' WHERE id = ${person.id}`
  // An admin, because more routes answer an admin.
  bearer = (await logIn(service, person.email, person.password)).access
  inBrowser = { ...OWN, ...(await signIn(service, person)) }
  const other = await newPerson(service)
  ids = { key: (await newKey(service, other.access)).id, user: other.id }
})

/** The tables that record refused requests, that an instance is there, and what an overview has counted. */
const NOT_COMPARED = ['audit_events', 'login_attempts', 'passkey_challenges', 'instances', 'overview']

/** The rows of every other table. */
async function stateOfDatabase(): Promise<Record<string, string>> {
  const tables = await sql`
    SELECT table_name FROM information_schema.tables
    WHERE table_schema = 'latchkey' AND table_name <> ALL (${NOT_COMPARED}) ORDER BY 1`
  const state: Record<string, string> = {}
  for (const { table_name } of tables) {
    const [row] = await sql`
      SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') AS content
      FROM latchkey.${sql(table_name)} t`
    state[table_name] = row?.content
  }
  return state
}

/** Runs `work` and expects that it changed no row of any table. */
async function changingNothing(work: () => Promise<void>): Promise<void> {
  const before = await stateOfDatabase()
  expect(Object.keys(before).length).toBeGreaterThan(6)
  await work()
  expect(await stateOfDatabase()).toEqual(before)
}

/** A credential where the operation needs one. Where the credential is optional, it is left out. */
const credentialFor = ({ operation }: Route): Call =>
  operation.security.length > 0 && operation.security.every((way) => Object.keys(way).length > 0)
    ? { bearer }
    : {}
const pathOf = ({ path }: Route) => path.replace(/\{\w+\}/g, () => Bun.randomUUIDv7())
const takes = (type: string) => (route: Route) => type in (route.operation.requestBody?.content ?? {})
const REFUSALS = [400, 404, 413, 415, 422]

async function expectRefused(route: Route, what: string, options: Call, allowed = REFUSALS): Promise<void> {
  const startedAt = performance.now()
  const answer = await call(service, `${route.method} ${pathOf(route)}`, {
    ...credentialFor(route),
    ...options,
    headers: { ...(route.path.startsWith('/session') && inBrowser), ...options.headers },
  })
  const outcome = `${route.method} ${route.path}, ${what}: `
  expect(`${outcome}${allowed.includes(answer.status) ? 'refused' : answer.status}`).toBe(`${outcome}refused`)
  const slow = performance.now() - startedAt > 2000 ? 'slow' : ''
  expect(`${outcome}${slow}`).toBe(outcome)
}

const json = (raw: string | Uint8Array<ArrayBuffer>, type = 'application/json'): Call => ({
  raw,
  headers: { 'content-type': type },
})
const bytes = (...values: number[]) => new Uint8Array(values)
const utf16 = (text: string) => new Uint8Array(Buffer.from(`\ufeff${text}`, 'utf16le'))
const inChunks = (text: string) =>
  new ReadableStream({
    start(controller) {
      for (let at = 0; at < text.length; at += 8192)
        controller.enqueue(new TextEncoder().encode(text.slice(at, at + 8192)))
      controller.close()
    },
  })
const padded = (length: number) => `{"unknown":"${'x'.repeat(length - 14)}"}`
const GRAFT =
  '{"email":"a@example.com","password":"correct-horse-battery","role":"admin","refresh_token":"x"}'

/** Bodies that every route refuses. */
const BODIES: Record<string, Call> = {
  empty: json(''),
  'a blank': json(' '),
  'an empty list': json('[]'),
  'a list': json('[{"email":"a@example.com"}]'),
  'a text': json('"text"'),
  'an empty text': json('""'),
  'a number': json('5'),
  'a number beyond all': json('1e400'),
  true: json('true'),
  false: json('false'),
  null: json('null'),
  'one byte too many': json(padded(LIMIT_BYTES + 1)),
  'one byte too many, in chunks': {
    raw: inChunks(padded(LIMIT_BYTES + 1)),
    headers: { 'content-type': 'application/json' },
  },
  'as many bytes as may be': json(padded(LIMIT_BYTES)),
  'a megabyte, in chunks': {
    raw: inChunks(padded(1_000_000)),
    headers: { 'content-type': 'application/json' },
  },
  'thirty thousand lists': json(`${'['.repeat(30_000)}${']'.repeat(30_000)}`),
  'thirty thousand lists in a member': json(`{"unknown":${'['.repeat(30_000)}${']'.repeat(30_000)}}`),
  'ten thousand objects': json(`${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`),
  'thirty thousand lists, unclosed': json('['.repeat(30_000)),
  'five thousand unknown members': json(`{${Array.from({ length: 5000 }, (_, i) => `"${i}":1`).join()}}`),
  'no UTF-8': json(bytes(0xff, 0xfe, 0xfd)),
  'no UTF-8 in a text': json(new Uint8Array([...Buffer.from('{"email":"'), 0xff, ...Buffer.from('"}')])),
  'an overlong NUL': json(new Uint8Array([...Buffer.from('{"email":"'), 0xc0, 0x80, ...Buffer.from('"}')])),
  'a surrogate in UTF-8': json(
    new Uint8Array([...Buffer.from('{"email":"'), 0xed, 0xa0, 0x80, ...Buffer.from('"}')]),
  ),
  'half a character at the end': json(new Uint8Array([...Buffer.from('{"email":"'), 0xf0, 0x9f])),
  'UTF-16': json(utf16(GRAFT)),
  'UTF-16 by its name': json(utf16(GRAFT), 'application/json; charset=utf-16'),
  'a byte order mark before a list': json('\ufeff[]'),
  'Latin-1 by its name': json('{"email":"a@example.com"}', 'application/json; charset=iso-8859-1'),
  'no type': { raw: new Blob([GRAFT]) },
  'plain text': json(GRAFT, 'text/plain'),
  'a form': json('email=a%40example.com&password=correct-horse-battery', FORM),
  'a form of parts': json('--x\r\n\r\n--x--', 'multipart/form-data; boundary=x'),
  'JSON by another name': json(GRAFT, 'application/json-patch+json'),
  'a name that begins like JSON': json(GRAFT, 'application/jsonp'),
  'two types': json(GRAFT, 'text/plain, application/json'),
  'an unknown member': json('{"unknown":1}'),
  'a member without a name': json('{"":1}'),
  'a member named NUL': json('{"\\u0000":1}'),
  'a member named by half a character': json('{"\\ud800":1}'),
  'a member with a long name': json(`{"${'n'.repeat(60_000)}":1}`),
  'a prototype': json(`{"__proto__":${GRAFT}}`),
  "a constructor's prototype": json(`{"constructor":{"prototype":${GRAFT}}}`),
  'a prototype by name': json(`{"prototype":${GRAFT}}`),
  'what every object has': json('{"toString":1,"hasOwnProperty":1,"valueOf":1,"__defineGetter__":1}'),
  'the same unknown member twice': json('{"unknown":1,"unknown":2}'),
  'a comma too many': json('{"email":"a@example.com",}'),
  'no quotes': json('{email:1}'),
  'single quotes': json("{'email':'a@example.com'}"),
  'a comment': json('{"email":"a@example.com"/**/}'),
  'two values': json('{} {}'),
  'a zero before a number': json('{"unknown":01}'),
  'no number': json('{"unknown":NaN}'),
  'a NUL after the end': json('{"unknown":1}\0'),
  'a bare NUL in a text': json('{"email":"a\0b"}'),
  'half an escape': json('{"email":"\\u00"}'),
  'a form feed for a blank': json('{\f"unknown":1}'),
  'half of it': json('{"email":'),
}

/** The bodies that have a status of their own. Every other body is answered by 422. */
const STATUS_OF: Record<string, number> = {
  'a blank': 400,
  'thirty thousand lists': 400,
  'thirty thousand lists in a member': 400,
  'ten thousand objects': 400,
  'thirty thousand lists, unclosed': 400,
  'no UTF-8': 400,
  'no UTF-8 in a text': 400,
  'an overlong NUL': 400,
  'a surrogate in UTF-8': 400,
  'half a character at the end': 400,
  'UTF-16': 400,
  'what every object has': 400,
  'a comma too many': 400,
  'no quotes': 400,
  'single quotes': 400,
  'a comment': 400,
  'two values': 400,
  'a zero before a number': 400,
  'no number': 400,
  'a NUL after the end': 400,
  'a bare NUL in a text': 400,
  'half an escape': 400,
  'a form feed for a blank': 400,
  'half of it': 400,
  'one byte too many': 413,
  'one byte too many, in chunks': 413,
  'a megabyte, in chunks': 413,
  'UTF-16 by its name': 415,
  'Latin-1 by its name': 415,
  'no type': 415,
  'plain text': 415,
  'a form': 415,
  'a form of parts': 415,
  'JSON by another name': 415,
  'a name that begins like JSON': 415,
  'two types': 415,
}

/**
 * Empty bodies. Some routes accept a request without a body: `POST /auth/logout` then ends nothing, any passkey may log
 * in by the options that `POST /auth/passkeys/login/options` gives, and `DELETE /auth/me` lacks the password.
 */
const NOTHING = new Set(['empty', 'null'])

/** An import accepts eight megabytes, a report of a region one. */
const ACCEPTS_MORE = new Set(['/keys/import', '/usage/report'])

describe('an invalid body is refused by every route, and changes nothing', () => {
  test.each(Object.entries(BODIES))('%s', async (what, options) => {
    const withBody = routes.filter(takes('application/json'))
    expect(withBody.length).toBeGreaterThanOrEqual(6)
    await changingNothing(async () => {
      for (const route of withBody) {
        const isNothing = NOTHING.has(what) && route.operation.requestBody?.required === false
        const refused = STATUS_OF[what] ?? (isOAuthPath(route.path) ? 400 : 422)
        const allowed = isNothing ? [200, 204, 401, 404, 422] : [refused]
        if (ACCEPTS_MORE.has(route.path) && allowed[0] === 413) allowed[0] = 422
        // A stream can be sent once only.
        const raw = options.raw instanceof ReadableStream ? inChunks(padded(LIMIT_BYTES + 100)) : options.raw
        await expectRefused(route, what, raw === undefined ? options : { ...options, raw }, allowed)
      }
    })
    expect(Object.keys(Object.prototype)).toEqual([])
    expect(({} as Record<string, unknown>).role).toBeUndefined()
  })

  test('the answer names an unknown member, whether or not the body is optional', async () => {
    for (const path of ['/auth/refresh', '/auth/logout', '/keys/create']) {
      const options = path === '/keys/create' ? { bearer } : {}
      const answer = await call(service, `POST ${path}`, { ...options, json: { refresh_tokn: 'rt_x' } })
      expect([answer.status, answer.body.errors]).toEqual([
        422,
        [{ path: '/refresh_tokn', message: 'Unknown member' }],
      ])
    }
    const list = await call(service, 'POST /auth/refresh', { json: [] })
    expect(list.body.errors).toEqual([{ path: '', message: 'Must be an object or null' }])
  })

  test('the control: a valid body is accepted, in either spelling of its type, and after a byte order mark', async () => {
    const text = JSON.stringify({ email: 'control@example.com', password: 'correct-horse-battery' })
    expect((await call(service, 'POST /auth/signup', json(text))).status).toBe(201)
    for (const type of [
      'APPLICATION/JSON',
      'application/json; charset=UTF-8',
      'application/json;charset="utf-8"',
    ])
      expect((await call(service, 'POST /auth/login', json(text, type))).status).toBe(200)
    expect((await call(service, 'POST /auth/login', json(`\ufeff${text}`))).status).toBe(200)
    const large = `${text.slice(0, -1)},"unknown":"${'x'.repeat(LIMIT_BYTES - text.length - 13)}"}`
    expect(large.length).toBe(LIMIT_BYTES)
    expect((await call(service, 'POST /auth/login', json(large))).status).toBe(200)
    const streamed = { raw: inChunks(large), headers: { 'content-type': 'application/json' } }
    expect((await call(service, 'POST /auth/login', streamed)).status).toBe(200)
  })

  test('invalid UTF-8 is not repaired, and a value that is too long is not cut', async () => {
    await changingNothing(async () => {
      for (const wrong of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf0, 0x9f, 0x99]]) {
        const [before, after] = ['{"email":"near@example.com","password":"correct-', '-horse-battery"}']
        const sent = json(new Uint8Array([...Buffer.from(before), ...wrong, ...Buffer.from(after)]))
        expect((await call(service, 'POST /auth/signup', sent)).status).toBe(400)
      }
      const whole = JSON.stringify({ email: 'near@example.com', password: 'correct-horse-battery' })
      const long = {
        raw: inChunks(whole + ' '.repeat(LIMIT_BYTES)),
        headers: { 'content-type': 'application/json' },
      }
      expect((await call(service, 'POST /auth/signup', long)).status).toBe(413)
    })
  })

  test('a body above the largest limit is cut off, and the service continues', async () => {
    await changingNothing(async () => {
      for (const length of [10 * 1024 * 1024, 99_999_999_999]) {
        const headers = ['Content-Type: application/json', `Content-Length: ${length}`]
        const body = 'x'.repeat(Math.min(length, 10 * 1024 * 1024))
        const { status, body: answered } = await sendRaw(service, 'POST /auth/login', headers, body)
        expect([0, 413]).toContain(status)
        expect(answered).toBe('')
      }
      for (const length of ['-1', 'x', '5, 6'])
        expect(
          (await sendRaw(service, 'POST /auth/login', [`Content-Length: ${length}`])).status,
        ).toBeLessThan(500)
      const chunked = ['Content-Type: application/json', 'Transfer-Encoding: chunked']
      for (const body of ['0\r\n\r\n', 'zz\r\n{}\r\n0\r\n\r\n'])
        expect((await sendRaw(service, 'POST /auth/login', chunked, body)).status).toBeLessThan(500)
      const long = [`Authorization: Bearer ${'x'.repeat(70_000)}`]
      expect([0, 400, 401, 413, 431]).toContain((await sendRaw(service, 'GET /auth/me', long)).status)
    })
    expect((await call(service, 'GET /readyz')).status).toBe(200)
  })
})

describe('each member of each body is validated', () => {
  const VALUES: unknown[] = [
    5,
    -1,
    0,
    1.5,
    1e308,
    true,
    false,
    '',
    ' ',
    'text',
    'a\0b',
    'a\ud800',
    '\u202e',
    '5',
    'x'.repeat(20_000),
    [],
    [5],
    [[]],
    ['a\0b'],
    {},
    { $ne: null },
    { length: 5 },
    { __proto__: null, toString: 1 },
    Array.from({ length: 5000 }, () => 'x'),
  ]

  test('an invalid value is refused, and changes nothing', async () => {
    let tried = 0
    await changingNothing(async () => {
      for (const route of routes.filter(takes('application/json'))) {
        const schema = shapeOf(route)
        for (const name of Object.keys(schema.properties ?? {})) {
          for (const value of VALUES) {
            const body = { ...plausible(schema), [name]: value }
            if (faultsOf(body, schema, resolveIn(document)).length === 0) continue
            // An import answers 200 with a result for each item.
            const allowed = route.path === '/keys/import' && name === 'keys' ? [...REFUSALS, 200] : REFUSALS
            await expectRefused(
              route,
              `${name}: ${JSON.stringify(value).slice(0, 50)}`,
              { json: body },
              allowed,
            )
            tried += 1
          }
        }
      }
    })
    expect(tried).toBeGreaterThan(200)
  })

  test('a number beyond every bound is refused in every member that takes a number', async () => {
    await changingNothing(async () => {
      for (const route of routes.filter(takes('application/json'))) {
        for (const name of Object.keys(shapeOf(route).properties ?? {})) {
          for (const number of ['1e400', '-1e400', '99999999999999999999999999999999999999'])
            await expectRefused(route, `${name}: ${number}`, json(`{"${name}":${number}}`))
        }
      }
    })
  })

  test('a value that the document allows is accepted or refused, and is no server error', async () => {
    let tried = 0
    for (const route of routes.filter(takes('application/json'))) {
      // These routes would end the session that the others need, or hash a password each time.
      if (['/auth/password', '/auth/signup', '/auth/login', '/users'].includes(route.path)) continue
      if (route.path.startsWith('/session')) continue
      const schema = shapeOf(route)
      for (const name of Object.keys(schema.properties ?? {})) {
        for (const value of VALUES) {
          const body = { ...plausible(schema), [name]: value }
          // Every other value is refused above.
          if (faultsOf(body, schema, resolveIn(document)).length > 0) continue
          tried += 1
          const { status } = await call(service, `${route.method} ${pathOf(route)}`, {
            ...credentialFor(route),
            json: body,
          })
          expect(`${route.path} ${name} ${JSON.stringify(value).slice(0, 50)} ${status >= 500}`).toEndWith(
            'false',
          )
        }
      }
    }
    expect(tried).toBeGreaterThan(200)
  })

  function shapeOf({ operation }: Route): Schema {
    const schema = operation.requestBody?.content['application/json']?.schema
    return schema?.$ref ? resolveIn(document)(schema.$ref) : (schema ?? {})
  }

  /** A plausible value for each required member. */
  function plausible({ required = [], properties = {} }: Schema): Record<string, unknown> {
    const texts: Record<string, string> = { email: 'plausible@example.com', name: 'plausible' }
    return Object.fromEntries(
      required.map((name) => [
        name,
        properties[name]?.type === 'array' ? [] : (texts[name] ?? 'correct-horse-battery'),
      ]),
    )
  }
})

describe('an invalid form is refused by every route, and changes nothing', () => {
  const form = (raw: string | Uint8Array<ArrayBuffer>, type = FORM): Call => ({
    raw,
    headers: { 'content-type': type },
  })
  const FORMS: Record<string, Call> = {
    empty: form(''),
    'a name alone': form('grant_type'),
    'an empty grant': form('grant_type=&token='),
    'no name': form('=password'),
    'a parameter twice': form('grant_type=password&token=x&grant_type=password&token=x'),
    'an unknown parameter': form('unknown=1'),
    'a prototype': form('__proto__=1&__proto__[grant_type]=password&constructor=1'),
    'no UTF-8': form(bytes(0xff, 0xfe)),
    'no UTF-8, encoded': form('grant_type=%ff%fe&username=%ff&password=%ff'),
    'half an escape': form('grant_type=%&username=%4&password=%zz'),
    NUL: form('grant_type=password%00&username=a%00b&password=c%00d'),
    'a long value': form(`grant_type=${'x'.repeat(60_000)}`),
    'ten thousand parameters': form(Array.from({ length: 10_000 }, (_, i) => `${i}=`).join('&')),
    'one byte too many': form(`grant_type=${'x'.repeat(LIMIT_BYTES)}`),
    JSON: form('{"grant_type":"password"}'),
    'JSON by its name': form('{"grant_type":"password"}', 'application/json'),
    'Latin-1 by its name': form('grant_type=password', `${FORM}; charset=iso-8859-1`),
    'a password grant without its parts': form('grant_type=password'),
    'a password grant with NUL in it': form('grant_type=password&username=a%00b&password=c%00d'),
    'a password grant with a forged scope': form('grant_type=password&username=a&password=b&scope=A%00'),
    'a refresh without a token': form('grant_type=refresh_token'),
    'a refresh with a NUL': form('grant_type=refresh_token&refresh_token=%00'),
    'an unknown client': form('grant_type=password&client_id=%00&client_secret=%00&token=x'),
  }

  test.each(Object.entries(FORMS))('%s', async (what, options) => {
    const withForm = routes.filter(takes(FORM))
    expect(withForm.length).toBeGreaterThan(0)
    await changingNothing(async () => {
      for (const route of withForm) {
        // A revocation answers 200 for any token, also for an unknown one (RFC 7009).
        const allowed = route.path === '/oauth/token' ? REFUSALS : [...REFUSALS, 200]
        await expectRefused(route, what, options, [...allowed, 401])
      }
    })
  })
})

describe('an invalid id finds nothing, and changes nothing', () => {
  const IDS = {
    'a word': 'x',
    'a number': '1',
    'minus one': '-1',
    null: 'null',
    undefined: 'undefined',
    NUL: '%00',
    'NUL at the end': '%K%00',
    'a step': '..',
    'two steps': '..%2f..',
    'a step, encoded': '%2e%2e',
    'a slash, encoded': '%2f',
    'a backslash': '%5c',
    'an overlong slash': '%c0%af',
    'no UTF-8': '%ff',
    'half an escape': '%',
    'not hexadecimal': '%zz',
    capitals: '%U',
    braces: '%7b%K%7d',
    'a URN': 'urn:uuid:%K',
    'no dashes': '%D',
    'blanks around it': '%20%K%20',
    SQL: "'%20OR%20'1'='1",
    'a list': '%K,%K',
    'a wildcard': '%25',
    'four thousand characters': 'a'.repeat(4000),
    'a smile': '%F0%9F%99%82',
    nothing: '',
  }

  test.each(Object.entries(IDS))('%s', async (what, spelling) => {
    const withId = routes.filter(({ path }) => path.includes('{'))
    expect(withId.length).toBeGreaterThanOrEqual(3)
    await changingNothing(async () => {
      for (const route of withId) {
        // A spelling without an id is the same for every row.
        for (const real of /%[KUD]/.test(spelling) ? Object.values(ids) : ['']) {
          const id = spelling
            .replaceAll('%K', real)
            .replace('%U', real.toUpperCase())
            .replace('%D', real.replaceAll('-', ''))
          const target = `${route.method} ${route.path.replace(/\{\w+\}/g, id)}`
          const body = route.operation.requestBody ? '{}' : ''
          const { status } = await sendRaw(
            service,
            target,
            [
              `Authorization: Bearer ${bearer}`,
              'Content-Type: application/json',
              `Content-Length: ${body.length}`,
            ],
            body,
          )
          const outcome = `${route.method} ${route.path}, ${what}: `
          // `..` and an empty id lead to another path, which may be a route: GET of a list for example.
          const isElsewhere = route.method === 'GET' && ['', '..', '%2e%2e'].includes(spelling)
          const isRefused = status >= 400 && status < 500
          expect(`${outcome}${isRefused || isElsewhere ? 'refused' : status}`).toBe(`${outcome}refused`)
        }
      }
    })
  })
})

describe('an invalid query is no server error, and changes nothing', () => {
  const VALUES = [
    '',
    '%00',
    'a%00b',
    '%ff',
    '%',
    '%zz',
    '%ud800',
    '%0d%0aX-Injected:1',
    '-1',
    '0',
    '1.5',
    '1e400',
    '999999999999999999999',
    'true',
    'null',
    '[]',
    '%7B%7D',
    "'",
    '"',
    '\\',
    '2020-01-01',
    '%2B010000-01-01T00:00:00Z',
    '9999-12-31T23:59:59-05:00',
    '-271821-04-20T00:00:00Z',
    'x'.repeat(5000),
  ]

  /** How a parameter is sent twice or as a list does not depend on its value: these few are sent so. */
  const REPEATED = ['', '%00', '0', 'true']
  const UNKNOWN = ['unknown', '__proto__', 'constructor', 'toString']

  test('in every parameter, sent once, sent twice, and together with unknown parameters', async () => {
    let tried = 0
    await changingNothing(async () => {
      for (const route of routes) {
        const names = (route.operation.parameters ?? [])
          .filter((each) => each.in === 'query')
          .map((each) => each.name)
        // The unknown ones go together: a route reads none of them.
        for (const group of [...names.map((name) => [name]), UNKNOWN]) {
          for (const value of VALUES) {
            // The headers of a request have 16 KiB at most.
            const named = value.length > 1000 ? group.slice(0, 1) : group
            const each = (part: (name: string) => string) => named.map(part).join('&')
            const repeated = [
              each((name) => `${name}=${value}&${name}=${value}`),
              each((name) => `${name}[]=${value}`),
            ]
            for (const query of [
              each((name) => `${name}=${value}`),
              ...(REPEATED.includes(value) ? repeated : []),
            ]) {
              // Skips the routes that would make a change whatever the query is.
              if (route.method !== 'GET' && !route.path.includes('{')) continue
              if (route.operation.requestBody) continue
              const { status } = await call(
                service,
                `${route.method} ${pathOf(route)}?${query}`,
                credentialFor(route),
              )
              expect(`${route.method} ${route.path}?${query.slice(0, 60)} ${status >= 500}`).toEndWith(
                'false',
              )
              tried += 1
            }
          }
        }
      }
    })
    expect(tried).toBeGreaterThan(500)
  }, 240_000)

  test('the control: a valid query is accepted', async () => {
    const { status, body } = await call(service, 'GET /keys/list', { bearer })
    expect([status, Array.isArray(body)]).toEqual([200, true])
    expect((await call(service, 'DELETE /keys/revoke/x?reason=why&created=true', { bearer })).status).toBe(
      404,
    )
  })
})
