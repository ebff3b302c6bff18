import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { runProgram } from '../support/binary.ts'
import { embeddedHome } from '../support/embedded-home.ts'
import { PROGRAM, serve } from '../support/program.ts'

const section = readFileSync('README.md', 'utf8').split('\n## A first key in a minute\n')[1] ?? ''
const [, commands = '', , printed = ''] = section.split(/^```.*\n/m)

/** Texts that differ in each run, and the ellipses of the README. */
const ANY = [
  /…/,
  /[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}/,
  /\d{4}-\d\d-\d\dT[\d:.]+Z/,
  /(?<=sk_)\w+/,
  /(?<=rt_)\w+/,
  /(?<="access_token":")[\w.-]+/,
]
const anyOf = new RegExp(ANY.map(({ source }) => source).join('|'))

/** Matches a printed line of the README, whatever the ids, times and secrets are. */
const lineLike = (printed: string) => new RegExp(`^${printed.split(anyOf).map(RegExp.escape).join('.*')}$`)

test('the commands of the README print the answers of the README when they are pasted', async () => {
  using at = await embeddedHome()
  await using server = await serve(at.path)
  // The script of package.json would install first, and prints two lines that begin with "$ ".
  const script = commands
    .replace('http://127.0.0.1:8000', server.url)
    .replace('npx --yes bun@1.4.5 run latchkey', PROGRAM.join(' '))
  const { code, out, err } = await runProgram(['sh', '-c', script], {
    cwd: at.path,
    env: { PATH: process.env.PATH },
  })
  expect({ code, err }).toEqual({ code: 0, err: '' })
  const expected = printed.split('\n').filter((line) => !line.startsWith('$ '))
  const lines = out.split('\n')
  expect(lines).toHaveLength(expected.length)
  expect(lines.length).toBeGreaterThan(10)
  for (const [at, line] of lines.entries()) expect(line).toMatch(lineLike(expected[at] ?? ''))
}, 240_000)

test('the control: a different answer does not match', () => {
  const printed = '{"valid":false,"code":"REVOKED","key_id":"01a21ade-b27c-7434-bb46-70582ef64af4"}'
  expect(printed.replace('01a21ade', '01a21adf')).toMatch(lineLike(printed))
  expect(printed.replace('REVOKED', 'EXPIRED')).not.toMatch(lineLike(printed))
})
