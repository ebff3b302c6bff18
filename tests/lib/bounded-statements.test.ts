import { expect, test } from 'bun:test'
import { join } from 'node:path'

const src = join(import.meta.dir, '../../src')

/** What makes a parameter of each member of a list: a statement takes 65,534 of them. */
const PARAMETER_EACH = /\b(?:not)?inArray\(/i

const findings = (text: string) => text.split('\n').filter((line) => PARAMETER_EACH.test(line))

test('no statement takes a parameter for each of many ids: isOneOf takes them in one', async () => {
  const found: string[] = []
  let files = 0
  for await (const path of new Bun.Glob('**/*.ts').scan(src)) {
    files += 1
    for (const line of findings(await Bun.file(join(src, path)).text())) found.push(`${path}: ${line.trim()}`)
  }
  expect(files).toBeGreaterThan(100)
  expect(found).toEqual([])
})

test('which is found where it is', () => {
  for (const line of ['.where(inArray(users.id, ids))', 'notInArray(users.id, [...ids])'])
    expect(findings(line)).toEqual([line])
  expect(findings('.where(isOneOf(users.id, ids))')).toEqual([])
})
