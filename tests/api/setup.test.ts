import { describe, expect, test } from 'bun:test'
import { issueSetupLink } from '../../src/core/users/accounts.ts'
import { ask, cookieOf } from '../support/browser.ts'
import { type Answer, call, newPerson } from '../support/client.ts'
import { everyLimit } from '../support/limits.ts'
import { expectProblem } from '../support/problem.ts'
import { startService, type TestService } from '../support/service.ts'
import { useService, useSql } from '../support/use-service.ts'

const service = useService({ publicUrl: 'https://auth.example.com/base' })
const sql = useSql(service)

const HTML = { accept: 'text/html' }
const PASSWORD = 'a-long-and-good-one'
const fresh = () => `${Bun.randomUUIDv7()}@example.com`

/** Takes every admin away, so that the service is as new. */
const unset = () => sql`UPDATE latchkey.users SET role = 'user' WHERE role = 'admin'`
const admins = async () =>
  (await sql`SELECT id, email, email_verified FROM latchkey.users WHERE role = 'admin'`).map((row) => ({
    ...row,
  }))

async function tokenOf(at: TestService = service): Promise<string> {
  const link = await issueSetupLink(at.context)
  if (link === null) throw new Error('There is no set-up now')
  expect(link).toStartWith(`${at.config.publicUrl}/setup?token=et_`)
  return new URL(link).searchParams.get('token') ?? ''
}
const setUp = (form: Record<string, string>, at: TestService = service): Promise<Answer> =>
  ask(at, 'POST /setup', { form, headers: HTML })

describe('while there is no admin', () => {
  test('GET /setup shows the form with any token or none, and tells nothing', async () => {
    await unset()
    const good = await tokenOf()
    const pages = await Promise.all(
      ['', '?token=guess', `?token=${good}`].map((query) => call(service, `GET /setup${query}`)),
    )
    for (const { status } of pages) expect(status).toBe(200)
    const without = pages.map(({ text }) => text.replace(/ value="[^"]*"/, ''))
    expect(new Set(without).size).toBe(1)
  })

  test('a token makes the admin, whose address is verified, and signs them in', async () => {
    await unset()
    const email = fresh()
    const answer = await setUp({ token: await tokenOf(), email, password: PASSWORD })
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/base/console'])
    expect(await admins()).toMatchObject([{ email, email_verified: true }])
    const cookie = cookieOf(answer) ?? ''
    const { body } = await ask(service, 'POST /session/token', { headers: { cookie } })
    expect((await call(service, 'GET /protected/admin', { bearer: body.access_token })).status).toBe(200)
  })

  test('a wrong, an old and a used token are one answer, counted as failures of a credential', async () => {
    await unset()
    const used = await tokenOf()
    expect((await setUp({ token: used, email: fresh(), password: PASSWORD })).status).toBe(303)
    await unset()
    const old = await tokenOf()
    service.advance(61 * 60_000)
    const answers = [
      await setUp({ token: used, email: fresh(), password: PASSWORD }),
      await setUp({ token: old, email: fresh(), password: PASSWORD }),
      await setUp({ token: 'guess', email: fresh(), password: PASSWORD }),
      await setUp({ email: fresh(), password: PASSWORD }),
    ]
    for (const answer of answers) {
      expect(answer.status).toBe(401)
      expect(answer.headers.get('www-authenticate')).toBeNull()
      expect(answer.text).toContain('This link does not work, or no longer.')
    }
    expect(await admins()).toEqual([])
  })

  test('guesses are limited as failed credentials, beside the limit of mails', async () => {
    await unset()
    const wide = { limit: 1000, windowSeconds: 60 }
    const rateLimits = { ...everyLimit(wide), unknown_credential: { limit: 3, windowSeconds: 60 } }
    const limited = await startService({ rateLimits }, service)
    try {
      const guess = () => setUp({ token: 'guess', email: fresh(), password: PASSWORD }, limited)
      const statuses: number[] = []
      for (let n = 0; n < 4; n++) statuses.push((await guess()).status)
      expect(statuses).toEqual([401, 401, 401, 429])
    } finally {
      await limited.stop()
    }
  })

  test('what may not be chosen is 422 or 409, and leaves the token usable', async () => {
    await unset()
    const token = await tokenOf()
    const taken = await newPerson(service)
    const email = fresh()
    const weak = await setUp({ token, email, password: 'short' })
    expect(weak.status).toBe(422)
    expect(weak.text).toContain(`value="${email}"`)
    expect(weak.text).not.toContain('value="short"')
    expect((await setUp({ token, email: 'no-address', password: PASSWORD })).status).toBe(422)
    expect((await setUp({ token, email: taken.email, password: PASSWORD })).status).toBe(409)
    expect((await setUp({ token, email, password: PASSWORD })).status).toBe(303)
  })

  test('of two admins at once on two servers one is made', async () => {
    const other = await startService({ publicUrl: service.config.publicUrl }, service)
    try {
      for (let round = 0; round < 5; round++) {
        await unset()
        const tokens = [await tokenOf(), await tokenOf(other)]
        const answers = await Promise.all(
          [service, other].map((at, n) =>
            setUp({ token: tokens[n] ?? '', email: fresh(), password: PASSWORD }, at),
          ),
        )
        expect(answers.map(({ status }) => status).sort()).toEqual([303, 404])
        expect(await admins()).toHaveLength(1)
      }
    } finally {
      await other.stop()
    }
  })

  test('one token at once on two servers makes one admin', async () => {
    const other = await startService({ publicUrl: service.config.publicUrl }, service)
    try {
      await unset()
      const token = await tokenOf()
      const answers = await Promise.all(
        [service, other].map((at) => setUp({ token, email: fresh(), password: PASSWORD }, at)),
      )
      expect(answers.map(({ status }) => status).sort()[0]).toBe(303)
      expect(await admins()).toHaveLength(1)
    } finally {
      await other.stop()
    }
  })

  test('the link is PUBLIC_URL’s, and only a hash of the token is stored', async () => {
    await unset()
    const token = await tokenOf()
    const rows = await sql`SELECT t::text AS row FROM latchkey.one_time_tokens t WHERE purpose = 'setup'`
    expect(rows.length).toBeGreaterThan(0)
    expect(JSON.stringify(rows)).not.toContain(token)
    const headers = { host: 'evil.example', 'x-forwarded-host': 'evil.example' }
    expect((await call(service, 'GET /setup', { headers })).text).not.toContain('evil.example')
  })

  test('with SETUP_PAGE=false there is no page and no token', async () => {
    await unset()
    const closed = await startService({ setupPage: false }, service)
    try {
      expect(await issueSetupLink(closed.context)).toBeNull()
      expectProblem(await call(closed, 'GET /setup'), 'not_found')
      expectProblem(await ask(closed, 'POST /setup', { form: { token: 'x' } }), 'not_found')
    } finally {
      await closed.stop()
    }
  })

  test('only our own page sets up', async () => {
    await unset()
    const form = { token: await tokenOf(), email: fresh(), password: PASSWORD }
    expectProblem(await call(service, 'POST /setup', { form }), 'cross_site')
    expect(await admins()).toEqual([])
  })
})

describe('while there is an admin', () => {
  test('GET and POST are 404, also with a token from before', async () => {
    await unset()
    const before = await tokenOf()
    expect((await setUp({ token: await tokenOf(), email: fresh(), password: PASSWORD })).status).toBe(303)
    expect(await issueSetupLink(service.context)).toBeNull()
    expectProblem(await call(service, `GET /setup?token=${before}`), 'not_found')
    expect((await call(service, 'GET /setup', { headers: HTML })).text).toContain('Not found')
    expect((await setUp({ token: before, email: fresh(), password: PASSWORD })).status).toBe(404)
    expect(await admins()).toHaveLength(1)
  })
})
