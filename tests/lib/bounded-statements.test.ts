import { expect, test } from 'bun:test'
import { join } from 'node:path'

const src = join(import.meta.dir, '../../src')

/**
 * What may make one parameter for each item of a list. A statement has at most 65,534 parameters.
 * tests/api/bounded-requests.test.ts counts the parameters as they are sent.
 */
const PARAMETER_EACH = /\b(?:not)?inArray\(|\bsql\.join\(|\b(?:or|and)\(.*\.\.\.|\.values\((?:\[|\w+s\))/i

/** How many such lines a file has whose lists are short by themselves. */
const BOUNDED: Record<string, number> = {
  // An import of at most 1,000, of some twenty columns.
  'core/import/queries.ts': 4,
  // One row, by a name that is a plural; the values of an order of keys; the marks before a key's end.
  'core/keys/queries.ts': 2,
  // The mails of one change.
  'core/mail/queries.ts': 1,
  'core/shared-settings/queries.ts': 1,
  // A key that is derived from SECRET_KEY, and one from SECRET_KEY_PREVIOUS.
  'core/login/queries.ts': 1,
  // The columns of a session that say when it ends.
  'core/housekeeping/queries.ts': 1,
  // The tables and their columns.
  'core/transfer/queries.ts': 3,
}

const findings = (text: string) =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => PARAMETER_EACH.test(line))

test('no statement takes a parameter for each of many ids: isOneOf takes them in one', async () => {
  const found: Record<string, number> = {}
  let files = 0
  for await (const path of new Bun.Glob('{core,db,server}/**/*.ts').scan(src)) {
    files += 1
    const lines = findings(await Bun.file(join(src, path)).text())
    if (lines.length > 0) found[path] = lines.length
  }
  expect(files).toBeGreaterThan(100)
  expect(found).toEqual(BOUNDED)
})

test('a line that makes a parameter for each of many ids is found', () => {
  for (const line of [
    '.where(inArray(users.id, ids))',
    'notInArray(users.id, [...ids])',
    'const list = sql.join(ids, sql`, `)',
    '.where(or(...ids.map((id) => eq(users.id, id))))',
    '.where(and(isLive(now), ...filters))',
    'await tx.insert(users).values(rows)',
    'await tx.insert(users).values([...rows])',
  ])
    expect(findings(line)).toEqual([line])
  const fine = ['.where(isOneOf(users.id, ids))', '.values({ id, hash })', '.values(user)', 'known.values()']
  for (const line of fine) expect(findings(line)).toEqual([])
})
