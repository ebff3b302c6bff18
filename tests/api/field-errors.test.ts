import { beforeAll, describe, expect, test } from 'bun:test'
import { isOAuthPath } from '../../src/api/oauth-path.ts'
import { OWN, signIn } from '../support/browser.ts'
import { type Call, logIn, newPerson } from '../support/client.ts'
import { call, documentOf, type OpenApiDocument, operationsOf, resolveIn } from '../support/described.ts'
import { faultsOf, type Schema } from '../support/json-schema.ts'
import { useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
let document: OpenApiDocument
let bearer: string
let inBrowser: Record<string, string>
beforeAll(async () => {
  document = await documentOf(service)
  const person = await newPerson(service)
  await sql`UPDATE latchkey.users SET role = 'admin' WHERE id = ${person.id}`
  bearer = (await logIn(service, person.email, person.password)).access
  inBrowser = { ...OWN, ...(await signIn(service, person)) }
})

type Place = { path: string; schema: Schema; wrap: (value: unknown) => unknown }

const resolved = (schema: Schema): Schema => (schema.$ref ? resolveIn(document)(schema.$ref) : schema)

/** Every member of a body at every depth, each with a function that builds a body with a value in this place. */
function placesIn(given: Schema, path = '', wrap: Place['wrap'] = (value) => value): Place[] {
  const schema = resolved(given)
  const inChoices = (schema.anyOf ?? []).flatMap((choice) => placesIn(choice, path, wrap).slice(1))
  const inMembers = Object.entries(schema.properties ?? {}).flatMap(([name, member]) =>
    placesIn(member, `${path}/${name}`, (value) => wrap({ [name]: value })),
  )
  const inItems = schema.items ? placesIn(schema.items, `${path}/0`, (value) => wrap([value])) : []
  return [{ path, schema, wrap }, ...inChoices, ...inMembers, ...inItems]
}

/** Values of each type, and values just beyond each bound of a schema. */
function wrongValuesOf(schema: Schema): unknown[] {
  const bounds = [schema, ...(schema.anyOf ?? []).map(resolved)].flatMap((choice) => [
    ...(choice.minimum === undefined ? [] : [choice.minimum - 1]),
    ...(choice.maximum === undefined ? [] : [choice.maximum + 1]),
    ...(choice.minLength ? [''] : []),
    ...(choice.maxLength === undefined ? [] : ['x'.repeat(choice.maxLength + 1)]),
    ...(choice.maxItems === undefined ? [] : [Array.from({ length: choice.maxItems + 1 }, () => 'x')]),
  ])
  return [5, 1.5, true, 'wrong\0', {}, [], ...bounds].filter(
    (value) => faultsOf(value, schema, resolveIn(document)).length > 0,
  )
}

/** Every message is a sentence of ours that says what is allowed. */
const SENTENCE = /^(Must |Is required: |Unknown member)/

function expectNamed(route: string, sent: unknown, path: string, answer: { status: number; body: unknown }) {
  const what = `${route} ${path} ${JSON.stringify(sent)?.slice(0, 60)}`
  const { errors = [] } = answer.body as { errors?: { path: string; message: string }[] }
  const named = errors.find((error) => error.path === path || error.path.startsWith(`${path}/`))
  expect([what, answer.status, named ? 'named' : errors]).toEqual([what, 422, 'named'])
  for (const { message } of errors) expect([what, message]).toEqual([what, expect.stringMatching(SENTENCE)])
}

describe('a 422 names each member and what is allowed', () => {
  test('for every member of every body, with a wrong type and beyond each bound', async () => {
    let tried = 0
    for (const { method, path: route, operation } of operationsOf(document)) {
      const schema = operation.requestBody?.content['application/json']?.schema
      // The endpoints of OAuth answer by their own standards.
      if (!schema || isOAuthPath(route)) continue
      for (const { path, schema: member, wrap } of placesIn(schema)) {
        // An import answers 200 with a result for each item.
        if (route === '/keys/import' && path.startsWith('/keys/')) continue
        for (const value of wrongValuesOf(member)) {
          const target = `${method} ${route.replace(/\{\w+\}/g, Bun.randomUUIDv7())}`
          const options: Call = {
            json: wrap(value),
            ...(operation.security.length > 0 ? { bearer } : {}),
            headers: route.startsWith('/session') ? inBrowser : {},
          }
          expectNamed(`${method} ${route}`, value, path, await call(service, target, options))
          tried += 1
        }
      }
    }
    expect(tried).toBeGreaterThan(300)
  })

  test('for every parameter of every query', async () => {
    let tried = 0
    for (const { method, path: route, operation } of operationsOf(document)) {
      for (const { name, in: place, schema = {} } of operation.parameters ?? []) {
        if (place !== 'query' || route === '/forward-auth') continue
        const numbers = schema.type === 'integer' ? ['0', '-1', 'x', '1.5', String(1e9)] : []
        const texts = schema.anyOf ? ['x'] : []
        const long = schema.maxLength === undefined ? [] : ['x'.repeat(schema.maxLength + 1)]
        for (const value of [...numbers, ...texts, ...long]) {
          const target = `${method} ${route.replace(/\{\w+\}/g, Bun.randomUUIDv7())}?${name}=${value}`
          expectNamed(`${method} ${route}`, value, `?${name}`, await call(service, target, { bearer }))
          tried += 1
        }
      }
    }
    expect(tried).toBeGreaterThan(40)
  })

  test.each<[route: string, json: unknown, path: string, message: string]>([
    ['POST /keys', { name: 5 }, '/name', 'Must be text of 1 to 100 characters, on one line'],
    ['POST /keys', { name: 'a\nb' }, '/name', 'Must be text of 1 to 100 characters, on one line'],
    [
      'POST /keys',
      { credits: { remaining: -1 } },
      '/credits/remaining',
      'Must be an integer from 0 to 1000000000000',
    ],
    [
      'POST /keys',
      { credits: { remaining: 1, refill: { amount: 1, interval: 'hourly' } } },
      '/credits/refill/interval',
      'Must be "daily", "weekly" or "monthly"',
    ],
    ['POST /keys', { scopes: ['read', 'Not a scope'] }, '/scopes/1', 'Must be lower-case letters, digits'],
    ['POST /keys', { scopes: ['read', 5] }, '/scopes/1', 'Must be text of at most 64 characters'],
    ['POST /keys', { scopes: 5 }, '/scopes', 'Must be a string or a list of strings'],
    ['POST /keys', { rate_limit: { limit: 5 } }, '/rate_limit/window_seconds', 'Is required: an integer'],
    ['POST /keys', { expires_at: 'tomorrow' }, '/expires_at', 'Must be a time in RFC 3339'],
    ['POST /keys', { expires_in_day: 5 }, '/expires_in_day', 'Unknown member'],
    ['POST /keys', { 'a/b~c': 5 }, '/a~1b~0c', 'Unknown member'],
    [
      'PATCH /keys/:id',
      { credits: { remaining: 'many' } },
      '/credits/remaining',
      'Must be an integer from 0 to 1000000000000',
    ],
    ['PATCH /keys/:id', { rate_limit: 5 }, '/rate_limit', 'Must be an object or null'],
    ['PATCH /keys/:id', { is_active: null }, '/is_active', 'Must be true or false'],
    ['POST /keys/:id/rotate', { overlap_seconds: -1 }, '/overlap_seconds', 'Must be an integer from 0 to'],
    ['POST /keys/:id/rotate', [], '', 'Must be an object or null'],
    ['POST /keys/import', { keys: [], 'a/b': 1 }, '/a~1b', 'Unknown member'],
    ['POST /keys/verify-batch', { keys: [{ key: 5 }] }, '/keys/0/key', 'Must be text'],
  ])('%s %j: %s', async (route, json, path, message) => {
    const answer = await call(service, route.replace(':id', Bun.randomUUIDv7()), { bearer, json })
    expect(answer.status).toBe(422)
    expect(answer.body.errors).toEqual([{ path, message: expect.stringContaining(message) }])
  })

  test('for numbers in a query beyond their bounds; the control is within them', async () => {
    for (const [limit, status] of [
      ['0', 422],
      ['1', 200],
      ['100', 200],
      ['101', 422],
    ] as const) {
      const answer = await call(service, `GET /users?limit=${limit}&query=is${limit}`, { bearer })
      expect([limit, answer.status]).toEqual([limit, status])
      if (status === 422)
        expect(answer.body.errors).toEqual([{ path: '?limit', message: 'Must be an integer from 1 to 100' }])
    }
  })

  test('and repeats nothing of the body', async () => {
    const json = { name: ['unheard-of'], metadata: 'unheard-of', scopes: { 'unheard-of': 1 } }
    const answer = await call(service, 'POST /keys', { bearer, json })
    expect(answer.body.errors).toHaveLength(3)
    expect(answer.text).not.toContain('unheard-of')
  })
})
