import { expect, test } from 'bun:test'
import { join, resolve } from 'node:path'
import { builtBinary, emptyDirectory, runProgram } from '../support/binary.ts'

const root = resolve(import.meta.dir, '../..')

const replay = (...words: string[]) =>
  runProgram([process.execPath, 'scripts/replay.ts', ...words], { cwd: root, env: process.env })

test('the binary answers every request as the source does', async () => {
  using here = emptyDirectory()
  const record = async (program: string, name: string) => {
    const file = join(here.path, name)
    expect(await replay('record', '--program', program, '--to', file)).toMatchObject({ code: 0, err: '' })
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
