import { expect, test } from 'bun:test'
import { emptyDirectory } from '../support/binary.ts'
import { call } from '../support/client.ts'
import { parseExposition, valueIn } from '../support/exposition.ts'
import { freePort } from '../support/free-port.ts'
import { createDatabase } from '../support/postgres.ts'
import { expectProblem } from '../support/problem.ts'
import { latchkey, serve } from '../support/program.ts'

const TOKEN = 'qX7vB2mK9qT4wZ8nRdF3'

test('METRICS_PORT serves only /metrics, and needs the token where METRICS_TOKEN is set', async () => {
  const database = await createDatabase()
  using here = emptyDirectory()
  const port = await freePort()
  const env = {
    DATABASE_URL: database.url,
    SECRET_KEY: Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex'),
    METRICS_PORT: String(port),
  }
  const own = { url: `http://127.0.0.1:${port}` }
  try {
    await using server = await serve(here.path, env)
    const answer = await call(own, 'GET /metrics')
    expect(answer.status).toBe(200)
    expect(valueIn(parseExposition(answer.text), 'latchkey_build_info')).toBe(1)
    for (const path of ['/', '/health', '/auth/me', '/metrics/x', '/x/metrics', '/docs', '/openapi.json'])
      expectProblem(await call(own, `GET ${path}`), 'not_found')
    expectProblem(await call(own, 'POST /metrics', { json: {} }), 'method_not_allowed')
    expectProblem(await call(server, 'GET /metrics'), 'not_found')
    expect((await call(server, 'GET /readyz')).status).toBe(200)
    // The metrics port counts the requests of the other port.
    const later = parseExposition((await call(own, 'GET /metrics')).text)
    expect(valueIn(later, 'latchkey_requests_total', { route: '/readyz', status: '200' })).toBe(1)
    const second = await latchkey(here.path, ['serve'], { ...env, PORT: String(await freePort()) })
    expect([second.code, second.out + second.err]).toEqual([1, expect.stringContaining('METRICS_PORT')])
    expect(await server.end('SIGTERM')).toBe(0)

    await using guarded = await serve(here.path, { ...env, METRICS_TOKEN: TOKEN })
    expectProblem(await call(own, 'GET /metrics'), 'missing_credential')
    expect((await call(own, 'GET /metrics', { bearer: TOKEN })).status).toBe(200)
    expect((await call(guarded, 'GET /metrics', { bearer: TOKEN })).status).toBe(200)
    expect(guarded.output()).not.toContain(TOKEN)
  } finally {
    await database.drop()
  }
}, 240_000)
