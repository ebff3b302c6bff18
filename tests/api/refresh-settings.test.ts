import { describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { decodeProtectedHeader } from 'jose'
import { rewrapSecrets } from '../../src/core/second-factors/rewrap.ts'
import { secret } from '../../src/lib/secret.ts'
import { call, newPerson } from '../support/client.ts'
import { expectProblem } from '../support/problem.ts'
import { refresh } from '../support/refresh.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { useService } from '../support/use-service.ts'

const service = useService()

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
    await rewrapSecrets(swapped.context)
    const alone = await startService({ secretKey: newKey }, service)
    expectProblem(await refresh(alone, back.body.refresh_token), 'invalid_token')
    const last = await refresh(alone, latest.body.refresh_token)
    expect(last.status).toBe(200)
    expect(await isGood(alone, last.body.access_token)).toBe(true)
    for (const server of [ready, swapped, alone]) await server.stop()
  })

  test('with HS256, whose tokens SECRET_KEY itself signs, too', async () => {
    const first = await startService({ algorithm: 'HS256' })
    const newKey = secret(randomBytes(48).toString('base64'))
    const swapped = await startService(
      { algorithm: 'HS256', secretKey: newKey, secretKeyPrevious: first.config.secretKey },
      first,
    )
    const person = await newPerson(first)
    const renewed = (await refresh(swapped, person.refresh)).body
    const statusOf = async (at: TestService, bearer: string) =>
      (await call(at, 'GET /auth/me', { bearer })).status
    expect(await statusOf(swapped, person.access)).toBe(200)
    expect(await statusOf(swapped, renewed.access_token)).toBe(200)
    expect(await statusOf(first, renewed.access_token)).toBe(401)
    const alone = await startService({ algorithm: 'HS256', secretKey: newKey }, first)
    expect(await statusOf(alone, renewed.access_token)).toBe(200)
    expect(await statusOf(alone, person.access)).toBe(401)
    for (const server of [alone, swapped, first]) await server.stop()
  })
})

describe('ALGORITHM is changed without ending a session', () => {
  test('tokens of the one before verify until they expire, and both keys are published', async () => {
    const first = await startService({ algorithm: 'ES256' })
    const person = await newPerson(first)
    const changed = await startService({ algorithm: 'EdDSA' }, first)
    const isGood = async (bearer: string) => (await call(changed, 'GET /auth/me', { bearer })).status === 200
    expect(await isGood(person.access)).toBe(true)
    const renewed = (await refresh(changed, person.refresh)).body
    expect(decodeProtectedHeader(renewed.access_token).alg).toBe('EdDSA')
    expect(await isGood(renewed.access_token)).toBe(true)
    const { keys } = (await call(changed, 'GET /.well-known/jwks.json')).body
    expect(keys.map((key: { alg: string }) => key.alg).sort()).toEqual(['ES256', 'EdDSA'])
    // The server that has not been restarted yet learns of the key.
    const status = async () =>
      (await call(first, 'GET /auth/me', { bearer: renewed.access_token })).status === 200
    await until(status, 'the other server knows the key')
    await changed.stop()
    await first.stop()
  })

  test('to HS256, and the stored keys count for nothing', async () => {
    const first = await startService({ algorithm: 'ES256' })
    const person = await newPerson(first)
    const changed = await startService({ algorithm: 'HS256' }, first)
    expectProblem(await call(changed, 'GET /auth/me', { bearer: person.access }), 'invalid_token')
    const renewed = (await refresh(changed, person.refresh)).body
    expect((await call(changed, 'GET /auth/me', { bearer: renewed.access_token })).status).toBe(200)
    expectProblem(await call(first, 'GET /auth/me', { bearer: renewed.access_token }), 'invalid_token')
    await changed.stop()
    await first.stop()
  })
})
