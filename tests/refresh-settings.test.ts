import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { rewrapSigningKeys } from '../src/features/signing/service.ts'
import { secret } from '../src/lib/secret.ts'
import { call, newPerson } from './support/client.ts'
import { expectProblem } from './support/problem.ts'
import { refresh } from './support/refresh.ts'
import { startService, type TestService } from './support/service.ts'

let service: TestService
beforeAll(async () => {
  service = await startService()
})
afterAll(() => service.stop())

describe('a refresh token in the query', () => {
  test('is no refresh token, unless REFRESH_TOKEN_IN_QUERY says so; neither reaches the log', async () => {
    const lenient = await startService({ refreshTokenInQuery: true }, service)
    const person = await newPerson(service)
    expectProblem(await inQuery(service, person.refresh), 'validation_failed')
    expectProblem(
      await call(service, `POST /auth/refresh?refresh_token=${person.refresh}`, { json: {} }),
      'validation_failed',
    )
    const answer = await inQuery(lenient, person.refresh)
    expect(answer.status).toBe(200)
    expect((await call(lenient, 'GET /auth/me', { bearer: answer.body.access_token })).status).toBe(200)
    for (const log of [service.loggedText(), lenient.loggedText()]) {
      expect(log).toContain('/auth/refresh')
      expect(log).not.toContain(person.refresh.slice(0, 20))
    }
    expectProblem(await inQuery(lenient, 'garbage'), 'invalid_token')
    // What is in the body goes first.
    const body = { refresh_token: answer.body.refresh_token }
    const both = await call(lenient, 'POST /auth/refresh?refresh_token=garbage', { json: body })
    expect(both.status).toBe(200)
    await lenient.stop()
  })

  const inQuery = (at: TestService, token: string) => call(at, `POST /auth/refresh?refresh_token=${token}`)
})

describe('SECRET_KEY is changed without ending a session', () => {
  test('in the three steps: the next key is known, then signs, then is alone', async () => {
    const oldKey = service.config.secretKey
    const newKey = secret(randomBytes(48).toString('base64'))
    const ready = await startService({ secretKey: oldKey, secretKeyPrevious: newKey }, service)
    const swapped = await startService({ secretKey: newKey, secretKeyPrevious: oldKey }, service)
    const person = await newPerson(service)
    const isGood = async (at: TestService, bearer: string) =>
      (await call(at, 'GET /auth/me', { bearer })).status === 200

    const renewed = await refresh(swapped, person.refresh)
    expect(renewed.status).toBe(200)
    expect(await isGood(swapped, person.access)).toBe(true)
    // Who has not heard of the new key refuses its tokens, and who has takes them.
    expectProblem(await refresh(service, renewed.body.refresh_token), 'invalid_token')
    const back = await refresh(ready, renewed.body.refresh_token)
    expect(back.status).toBe(200)
    const latest = await refresh(swapped, back.body.refresh_token)
    expect(latest.status).toBe(200)

    await expect(startService({ secretKey: newKey }, service)).rejects.toThrow('SECRET_KEY does not open')
    await rewrapSigningKeys(swapped.context)
    const alone = await startService({ secretKey: newKey }, service)
    expectProblem(await refresh(alone, back.body.refresh_token), 'invalid_token')
    const last = await refresh(alone, latest.body.refresh_token)
    expect(last.status).toBe(200)
    expect(await isGood(alone, last.body.access_token)).toBe(true)
    for (const server of [ready, swapped, alone]) await server.stop()
  })
})
