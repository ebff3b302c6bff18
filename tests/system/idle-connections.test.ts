import { afterAll, beforeAll, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { emptyDirectory, type RunningProgram } from '../support/binary.ts'
import { call } from '../support/client.ts'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'
import { serve } from '../support/program.ts'

/** Prints a figure for the reader of the output. Nothing is asserted of it. */
const tell = (text: string) => process.stderr.write(`${text}\n`)

const IDLE = 10_000
const here = emptyDirectory()
let database: TestDatabase
let server: RunningProgram
beforeAll(async () => {
  database = await createDatabase()
  server = await serve(here.path, {
    DATABASE_URL: database.url,
    SECRET_KEY: randomBytes(32).toString('hex'),
    RATE_LIMITS: 'off',
  })
})
afterAll(async () => {
  await server?.end('SIGTERM')
  await database?.drop()
  here[Symbol.dispose]()
})

const rssKib = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1])
async function medianMs(route: string): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < 101; i++) {
    const startedAt = performance.now()
    expect((await call(server, route)).status).toBe(200)
    times.push(performance.now() - startedAt)
  }
  return times.sort((a, b) => a - b)[50] ?? 0
}

test('ten thousand idle connections need little memory, delay no request, and are closed', async () => {
  const before = { ms: await medianMs('GET /readyz'), kib: rssKib() }
  const script = fileURLToPath(import.meta.resolve('../support/idle-connections.ts'))
  const port = new URL(server.url).port
  await using crowd = Bun.spawn([process.execPath, script, port, String(IDLE)], {
    stdout: 'pipe',
    stderr: 'inherit',
  })
  const said = crowd.stdout.pipeThrough(new TextDecoderStream()).getReader()
  expect((await said.read()).value).toBe(`open ${IDLE}\n`)
  const during = { ms: await medianMs('GET /readyz'), kib: rssKib() }
  const each = ((during.kib - before.kib) / IDLE).toFixed(2)
  tell(
    `${IDLE} idle connections: ${each} KiB each; /readyz at the median ${before.ms.toFixed(2)} ms before, ${during.ms.toFixed(2)} ms during`,
  )
  const startedAt = performance.now()
  expect((await said.read()).value).toBe(`closed ${IDLE}\n`)
  tell(`all closed ${((performance.now() - startedAt) / 1000).toFixed(1)} s later`)
  expect(await crowd.exited).toBe(0)
  expect((await call(server, 'GET /readyz')).status).toBe(200)
}, 240_000)
