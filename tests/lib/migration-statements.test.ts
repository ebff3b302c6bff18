import { expect, test } from 'bun:test'
import { changesRows } from '../../src/db/migrate.ts'
import { readMigrations } from '../../src/db/migrations.macro.ts'

/** The first word of each statement that a region runs too: it makes and changes no row. */
const OF_SCHEMA = /^(CREATE|ALTER|DROP|DO)\b/i

const withoutComments = (statement: string) => statement.replace(/--.*$/gm, '').trim()

test('every statement of a migration is known to change the schema, which a region does too, or rows, which it does not', () => {
  const statements = readMigrations().flatMap((migration) => migration.statements)
  const ofRows = statements.filter(changesRows)
  expect(statements.length).toBeGreaterThan(300)
  expect(ofRows.length).toBeGreaterThan(5)
  for (const statement of statements) {
    const text = withoutComments(statement)
    expect([text.slice(0, 80), changesRows(statement) || OF_SCHEMA.test(text)]).toEqual([
      text.slice(0, 80),
      true,
    ])
    if (/^DO\b/i.test(text)) expect(text).not.toMatch(/\b(INSERT INTO|UPDATE|DELETE FROM)\s+latchkey/i)
  }
})

test('a statement that changes rows is told from one of the schema, comments before it aside', () => {
  for (const statement of [
    'UPDATE latchkey.users SET a = 1',
    '-- Why.\n-- And why.\nINSERT INTO latchkey.a VALUES (1)',
    '\n  delete from latchkey.a',
  ])
    expect(changesRows(statement)).toBe(true)
  for (const statement of [
    'CREATE TRIGGER a AFTER UPDATE ON latchkey.users',
    '-- UPDATE nothing\nALTER TABLE latchkey.a ADD COLUMN b text',
    'DO $$ BEGIN END $$',
  ])
    expect(changesRows(statement)).toBe(false)
})
