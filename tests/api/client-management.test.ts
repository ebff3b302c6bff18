import { expect, expectTypeOf, test } from 'bun:test'
import { management } from 'latchkey/client/management'
import { newKey, newPerson } from '../support/client.ts'
import { prepare, useService } from '../support/use-service.ts'

const service = useService()
const person = prepare(() => newPerson(service))

test('keys are managed by typed calls', async () => {
  const scopes = ['latchkey:keys.read', 'latchkey:keys.write', 'read']
  const latchkey = management(service.url, (await newKey(service, person.access, { scopes })).key)

  const made = await latchkey.keys.create.post({ name: 'robot', scopes: 'read' })
  expect([made.status, made.error]).toEqual([201, null])
  if (made.data === null) throw new Error('No key')
  expectTypeOf(made.data.key).toEqualTypeOf<string>()
  expectTypeOf(made.data.created_at).toEqualTypeOf<string>()
  expect([made.data.key, typeof made.data.created_at]).toEqual([expect.stringMatching(/^sk_/), 'string'])

  const { id } = made.data
  const listed = await latchkey.keys.list.get({ query: {} })
  expect(listed.data?.map((key) => key.id)).toContain(id)
  const revoked = await latchkey.keys.revoke({ id }).delete(undefined, { query: { reason: 'done' } })
  expect(revoked.data).toEqual({ message: 'API key revoked successfully', key_id: id })
  expect((await latchkey.keys({ id }).get()).data).toMatchObject({ revoked_reason: 'done' })
})

test('a refusal is a value, with the status and the problem', async () => {
  const { data, error } = await management(service.url, 'sk_unknown').keys.list.get({ query: {} })
  expect(data).toBeNull()
  expect(error).toMatchObject({ status: 401, value: { code: 'invalid_token' } })
})

test('a call that the API does not accept does not compile', () => {
  const latchkey = management(service.url, person.access)
  // @ts-expect-error a name is text
  const wrongType = () => latchkey.keys.create.post({ name: 5 })
  // @ts-expect-error no such route
  const wrongPath = () => latchkey.locks.get()
  expect([wrongType, wrongPath]).toBeArray()
})
