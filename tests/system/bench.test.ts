import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { runProgram } from '../support/binary.ts'

const root = join(import.meta.dir, '../..')

const why = Bun.which('wrk') ? '' : ' (skipped: apt-get install wrk)'

test.skipIf(why !== '')(
  `the bench runs, and prints the rows of its table${why}`,
  async () => {
    const words = ['api-key', '--rounds=1', '--seconds=1']
    const command = [process.execPath, '--no-env-file', 'bench/run.ts', ...words]
    const { code, out } = await runProgram(command, { cwd: root, env: { PATH: process.env.PATH } })
    const rows = out.split('\n').filter((line) => line.startsWith('| `api-key` |'))
    expect(rows).toEqual([
      expect.stringMatching(/; 10000 credentials \| \d+\.\d+ \(\d+\.\d+–\d+\.\d+\) \|/),
      expect.stringMatching(/; one credential \| \d+\.\d+ \(\d+\.\d+–\d+\.\d+\) \|/),
    ])
    expect(code).toBe(0)
  },
  240_000,
)

test('the bench lists its entries, and refuses an unknown one', async () => {
  const { code, err } = await runProgram([process.execPath, 'bench/run.ts', 'api-keys'], { cwd: root })
  expect(err).toContain('There is no api-keys; there are api-key, ')
  expect(code).toBe(2)
})
