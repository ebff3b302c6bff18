import { afterAll, expect, test } from 'bun:test'
import { join, resolve } from 'node:path'
import { builtBinary, emptyDirectory, runProgram } from '../support/binary.ts'
import { createDatabase } from '../support/postgres.ts'

const root = resolve(import.meta.dir, '../..')

/** The scripts with few requests. A start on an embedded database takes longer than these, and `open` has one. */
const ON_POSTGRES = ['mail', 'limits', 'closed']
const drops: (() => Promise<void>)[] = []
afterAll(async () => {
  for (const drop of drops) await drop()
})

const replay = (...words: string[]) =>
  runProgram([process.execPath, 'scripts/replay.ts', ...words], { cwd: root, env: process.env })

test('the binary answers every request as the source does', async () => {
  using here = emptyDirectory()
  const record = async (program: string, name: string) => {
    const file = join(here.path, name)
    const databases: string[] = []
    for (const script of ON_POSTGRES) {
      const { url, drop } = await createDatabase()
      databases.push('--database', `${script}=${url}`)
      drops.push(drop)
    }
    const recorded = await replay('record', '--program', program, '--to', file, ...databases)
    expect(recorded).toMatchObject({ code: 0, err: '' })
    return file
  }
  const [source, binary] = await Promise.all([
    record(root, 'source.json'),
    record(await builtBinary(), 'binary.json'),
  ])
  const { requests } = await Bun.file(source).json()
  // The control: the compared requests include refusals and successes.
  expect(requests['open: GET /users?limit=0, at the bounds']).toMatchObject({ status: 422 })
  expect(requests['open: GET /users?limit=100, at the bounds']).toMatchObject({ status: 200 })
  expect(await replay('compare', source, binary)).toEqual({ code: 0, out: 'No difference\n', err: '' })
}, 600_000)
