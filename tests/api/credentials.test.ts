import { beforeAll, describe, expect, test } from 'bun:test'
import { makeApiKey } from '../../src/lib/tokens.ts'
import { type Answer, type Call, call, newKey, newPerson } from '../support/client.ts'
import { sendRaw } from '../support/http-socket.ts'
import { comparable, expectProblem } from '../support/problem.ts'
import { prepare, useService } from '../support/use-service.ts'

const service = useService()
const person = prepare(() => newPerson(service))
let key: string
beforeAll(async () => {
  key = (await newKey(service, person.access, { scopes: 'read' })).key
})

const CHALLENGE = 'Bearer realm="latchkey"'
const ask = (options: Call, path = '/protected/any') => call(service, `GET ${path}`, options)
const authorization = (value: string): Call => ({ headers: { authorization: value } })

function expectNone(answer: Answer): void {
  expectProblem(answer, 'missing_credential')
  expect(answer.headers.get('www-authenticate')).toBe(CHALLENGE)
}

function expectInvalid(answer: Answer): void {
  expectProblem(answer, 'invalid_token')
  expect(answer.headers.get('www-authenticate')).toBe(`${CHALLENGE}, error="invalid_token"`)
}

describe('a valid credential is accepted', () => {
  test.each<[string, () => Call, string]>([
    ['an access token', () => ({ bearer: person.access }), 'jwt'],
    ['a key as Bearer', () => ({ bearer: key }), 'api_key'],
    ['a key in X-API-Key', () => ({ apiKey: key }), 'api_key'],
    ['the scheme in small letters', () => authorization(`bearer ${person.access}`), 'jwt'],
    ['the scheme in capitals', () => authorization(`BEARER ${key}`), 'api_key'],
    ['the scheme in mixed case', () => authorization(`bEaReR ${key}`), 'api_key'],
    ['several spaces', () => authorization(`Bearer   ${key}`), 'api_key'],
    ['spaces around the key', () => ({ headers: { 'x-api-key': `  ${key}  ` } }), 'api_key'],
  ])('%s', async (_, options, kind) => {
    const answer = await ask(options())
    expect([answer.status, answer.body.auth_type]).toEqual([200, kind])
    expect(answer.headers.has('www-authenticate')).toBe(false)
  })

  test('in a single header of a raw connection', async () => {
    const answer = await sendRaw(service, 'GET /protected/any', [`authorization: Bearer ${key}`])
    expect([answer.status, answer.head.includes('application/json')]).toEqual([200, true])
  })
})

describe('a request without a credential is refused as such', () => {
  test.each<[string, () => Call, string?]>([
    ['nothing', () => ({})],
    ['another header', () => ({ headers: { 'x-auth-token': key, 'proxy-authorization': `Bearer ${key}` } })],
    ['a cookie', () => ({ headers: { cookie: `access_token=${person.access}; session=${key}` } })],
    ['?access_token=', () => ({}), '/protected/any?access_token=TOKEN'],
    ['?api_key=', () => ({}), '/protected/any?api_key=KEY'],
    ['?token=', () => ({}), '/protected/any?token=TOKEN'],
    ['?X-API-Key=', () => ({}), '/protected/any?X-API-Key=KEY&authorization=Bearer%20TOKEN'],
    ['a user name in the address', () => ({}), '/protected/any?user=TOKEN:KEY@'],
  ])('%s', async (_, options, path = '/protected/any') => {
    const asked = path.replace('TOKEN', person.access).replace('KEY', key)
    expectNone(await ask(options(), asked))
    expect((await ask({ bearer: person.access }, asked)).status).toBe(200)
  })

  test('and a credential in the query is not logged', async () => {
    await ask({}, `/protected/any?access_token=${person.access}&api_key=${key}`)
    const log = service.loggedText()
    expect(log).toContain('/protected/any')
    for (const part of [key.slice(3, 30), person.access.slice(10, 60)]) expect(log).not.toContain(part)
  })
})

describe('every bad credential gets the same answer', () => {
  test.each<[string, () => Call]>([
    ['garbage', () => ({ bearer: 'garbage' })],
    ['garbage in X-API-Key', () => ({ apiKey: 'garbage' })],
    ['an unknown key', () => ({ bearer: makeApiKey('sk_') })],
    ['an unknown key in X-API-Key', () => ({ apiKey: makeApiKey('sk_') })],
    ['a mistyped key', () => ({ apiKey: `${key.slice(0, -1)}${key.endsWith('x') ? 'y' : 'x'}` })],
    ['a key cut short', () => ({ apiKey: key.slice(0, -1) })],
    ['a key in capitals', () => ({ apiKey: key.toUpperCase() })],
    ['the start of a key', () => ({ apiKey: key.slice(0, 11) })],
    ['the hash of a key', () => ({ apiKey: Bun.SHA256.hash(key, 'hex') as string })],
    ['a refresh token', () => ({ bearer: person.refresh })],
    ['a refresh token in X-API-Key', () => ({ apiKey: person.refresh })],
    ['an access token in X-API-Key', () => ({ apiKey: person.access })],
    ['an access token and its scheme in X-API-Key', () => ({ apiKey: `Bearer ${person.access}` })],
    ['nothing after the scheme', () => authorization('Bearer')],
    ['a space after the scheme', () => authorization('Bearer ')],
    ['no scheme', () => authorization(key)],
    ['no scheme, an access token', () => authorization(person.access)],
    ['no space', () => authorization(`Bearer${key}`)],
    ['a tab', () => authorization(`Bearer\t${key}`)],
    ['a colon', () => authorization(`Bearer: ${key}`)],
    ['two words', () => authorization(`Bearer ${key} ${key}`)],
    ['the scheme twice', () => authorization(`Bearer Bearer ${key}`)],
    ['quotes', () => authorization(`Bearer "${key}"`)],
    ['Basic', () => authorization('Basic dXNlcjpwYXNz')],
    [
      'Basic with the key as password',
      () => authorization(`Basic ${Buffer.from(`user:${key}`).toString('base64')}`),
    ],
    ['Token', () => authorization(`Token ${key}`)],
    ['ApiKey', () => authorization(`ApiKey ${key}`)],
    ['an empty X-API-Key', () => ({ headers: { 'x-api-key': '' } })],
    ['an empty Authorization', () => authorization('')],
    ['a quote and SQL', () => ({ apiKey: "' OR '1'='1" })],
    ['bytes beyond ASCII', () => ({ apiKey: `${key}\u00e9` })],
    ['4 KB', () => ({ apiKey: `sk_${'a'.repeat(4093)}` })],
  ])('%s', async (_, options) => {
    const [answer, reference] = [await ask(options()), await ask({ bearer: 'reference' })]
    expectInvalid(answer)
    expect(comparable(answer)).toEqual(comparable(reference))
    expect((await ask({ apiKey: key })).status).toBe(200)
  })

  test('64 KB is refused', async () => {
    for (const options of [{ apiKey: 'a'.repeat(65_536) }, { bearer: 'a'.repeat(65_536) }])
      expect([401, 431]).toContain((await ask(options)).status)
    expect((await ask({ apiKey: key })).status).toBe(200)
  })
})

describe('two credentials are refused, whichever of them is valid', () => {
  test.each<[string, () => Call]>([
    ['a token and a key', () => ({ bearer: person.access, apiKey: key })],
    ['the same key twice', () => ({ bearer: key, apiKey: key })],
    ['a good token and a bad key', () => ({ bearer: person.access, apiKey: 'garbage' })],
    ['a bad token and a good key', () => ({ bearer: 'garbage', apiKey: key })],
    ['Basic and a good key', () => ({ ...authorization('Basic dXNlcjpwYXNz'), apiKey: key })],
    ['an empty key beside a good token', () => ({ bearer: person.access, apiKey: '' })],
    ['two joined in one header', () => authorization(`Bearer ${key}, Bearer ${person.access}`)],
    ['two keys joined', () => ({ apiKey: `${key}, ${key}` })],
    ['two keys joined without a space', () => ({ apiKey: `${key},${key}` })],
  ])('%s', async (_, options) => {
    expectProblem(await ask(options()), 'ambiguous_credentials')
  })

  test.each<[string, () => string[]]>([
    ['Authorization', () => [`Authorization: Bearer ${key}`, `Authorization: Bearer ${key}`]],
    ['the other first', () => ['Authorization: Bearer garbage', `authorization: Bearer ${key}`]],
    ['X-API-Key', () => [`X-API-Key: ${key}`, `x-api-key: ${key}`]],
    ['an empty one after it', () => [`Authorization: Bearer ${key}`, 'Authorization: ']],
    ['an empty one before it', () => ['X-API-Key: ', `X-API-Key: ${key}`]],
    ['each of the two', () => [`Authorization: Bearer ${key}`, `X-API-Key: ${key}`]],
  ])('a header sent twice: %s', async (_, headers) => {
    const answer = await sendRaw(service, 'GET /protected/any', headers())
    expect([answer.status, JSON.parse(answer.body).code]).toEqual([400, 'ambiguous_credentials'])
  })
})
