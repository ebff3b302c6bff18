import { afterAll, expect, test } from 'bun:test'
import { createApp } from '../../src/api/app.ts'
import { warnOfDifferences } from '../../src/core/shared-settings/shared-settings.ts'
import { call, newPerson } from '../support/client.ts'
import { startService, type TestService } from '../support/service.ts'

const started: TestService[] = []
afterAll(async () => {
  for (const service of started.reverse()) await service.stop()
})

async function start(publicUrl: string, on?: TestService): Promise<TestService> {
  const service = await startService({ publicUrl, jwtAudience: 'https://api.example.com' }, on)
  started.push(service)
  return service
}

const ready = async (service: TestService) => (await call(service, 'GET /readyz')).body
const warnings = (service: TestService) =>
  service
    .logged()
    .filter(({ level }) => level === 'warn')
    .map(({ message }) => message)

test('servers on one database with different PUBLIC_URLs warn with both values; the last start is taken as right', async () => {
  const first = await start('https://one.example.com')
  expect(await ready(first)).toEqual({ status: 'ready' })
  expect(warnings(first)).toEqual([])

  const second = await start('https://two.example.com', first)
  expect(warnings(second)).toEqual([
    "PUBLIC_URL is https://two.example.com here, and https://one.example.com on the server that started last on this database: they refuse each other's access tokens and share no limits",
  ])
  expect(await ready(second)).toEqual({ status: 'ready' })
  const difference =
    "PUBLIC_URL is https://one.example.com here, and https://two.example.com on the server that started last on this database: they refuse each other's access tokens and share no limits"
  expect(await ready(first)).toEqual({ status: 'ready', warnings: [difference] })
  await warnOfDifferences(first.context)
  expect(warnings(first)).toEqual([difference])

  // The reason of the warning: each server refuses the tokens of the other.
  const person = await newPerson(first)
  const statusAt = async (service: TestService) =>
    (await call(service, 'GET /auth/me', { bearer: person.access })).status
  expect([await statusAt(first), await statusAt(second)]).toEqual([200, 401])

  // All servers are restarted with the new value.
  const third = await start('https://two.example.com', first)
  expect(warnings(third)).toEqual([])
  expect([await ready(second), await ready(third)]).toEqual([{ status: 'ready' }, { status: 'ready' }])
})

test('a different JWT_AUDIENCE is warned of too', async () => {
  const first = await start('https://one.example.com')
  const other = { ...first.context, config: { ...first.config, jwtAudience: 'https://other.example.com' } }
  const answer = await createApp(other).handle(new Request('http://localhost/readyz'))
  expect(await answer.json()).toEqual({
    status: 'ready',
    warnings: [
      "JWT_AUDIENCE is https://other.example.com here, and https://api.example.com on the server that started last on this database: they refuse each other's access tokens",
    ],
  })
})
