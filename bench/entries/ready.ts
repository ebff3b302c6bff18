import { randomBytes } from 'node:crypto'
import { emptyDirectory, startProgram } from '../../tests/support/binary.ts'
import { atMost } from '../support/budget.ts'
import type { Entry, Finding, Program } from '../support/entry.ts'
import { figureOf } from '../support/figures.ts'
import { programOf } from '../support/latchkey.ts'
import { makeDatabase } from '../support/postgres.ts'
import { commandOf } from '../support/programs.ts'

const PROGRAMS: readonly Program[] = ['binary', 'source']
const WITH_DATABASE_MS = 150
const EMBEDDED_MS = 1_000
const FIRST_MS = 2_000

/** The time from the start of the process to the first 200 of `/readyz`. Each start may use every core. */
export const ready: Entry = {
  name: 'ready',
  // The binary may have to be built first.
  estimateSeconds: ({ rounds }) => rounds * 9 + 40,
  async run({ rounds }) {
    const database = await makeDatabase()
    const settings = { DATABASE_URL: database.url, SECRET_KEY: randomBytes(48).toString('base64') }
    const findings: Finding[] = []
    for (const program of PROGRAMS) {
      const command = [...(await programOf(program)), 'serve']
      using here = emptyDirectory()
      // Migrates the database, which is not part of a start.
      await timeStart(command, here.path, settings)
      const onServer = await timeStarts(rounds, () => timeStart(command, here.path, settings))

      const first: number[] = []
      const later = await timeStarts(rounds, async () => {
        using fresh = emptyDirectory()
        first.push(await timeStart(command, fresh.path))
        // Awaited here, before the directory is removed.
        return await timeStart(command, fresh.path)
      })
      // The budgets are for the binary.
      const budgetOf = (milliseconds: number) => (program === 'binary' ? milliseconds : null)
      findings.push(
        row(`ready with \`DATABASE_URL\`, ${program}`, onServer, budgetOf(WITH_DATABASE_MS)),
        row(`ready embedded, ${program}`, later, budgetOf(EMBEDDED_MS)),
        row(`ready embedded for the very first time, ${program}`, first, budgetOf(FIRST_MS)),
      )
    }
    using here = emptyDirectory()
    const bare = await timeStarts(rounds, () => timeStart(commandOf('bare', '/readyz'), here.path))
    findings.push(row('ready, bare Elysia from source', bare, null))
    await database.drop()
    return findings
  },
}

const row = (what: string, times: readonly number[], budgetMs: number | null): Finding => {
  const figure = figureOf(times)
  const budget = budgetMs === null ? null : atMost(figure.middle, budgetMs, ' ms')
  return { what, unit: 'ms', figure, budget, details: [] }
}

async function timeStarts(times: number, start: () => Promise<number>): Promise<number[]> {
  const took: number[] = []
  while (took.length < times) took.push(await start())
  return took
}

async function timeStart(
  command: readonly string[],
  cwd: string,
  env: Record<string, string> = {},
): Promise<number> {
  const startedAt = performance.now()
  await using server = await startProgram(command, { cwd, env: { NODE_ENV: 'production', ...env } })
  const answer = await fetch(`${server.url}/readyz`)
  const took = performance.now() - startedAt
  if (answer.status !== 200) throw new Error(`/readyz answered ${answer.status}`)
  // An orderly end, so that the next start needs no recovery.
  await server.end('SIGTERM')
  return took
}
