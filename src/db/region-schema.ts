import { Column, is, SQL } from 'drizzle-orm'
import { getTableConfig } from 'drizzle-orm/pg-core'
import { PUBLISHED } from './published.ts'
import { EVERY_TABLE } from './tables.ts'

/** The setting of a transaction under which the guards let tables be emptied, before they are copied again. */
export const COPYING = 'latchkey.copying'

/** The guard of each published table: a region's copy changes by what arrives alone. */
export const GUARD = 'region_guard'

const GUARD_FUNCTION = `CREATE OR REPLACE FUNCTION latchkey.refuse_local_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_setting('${COPYING}', true) = 'on' THEN RETURN NULL; END IF;
  RAISE EXCEPTION 'table % is a copy of home: change it there', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$`

/**
 * The statements that make the schema of home that of a region. Each may run again. Rows arrive without the columns that stay
 * at home, so nothing may ask for these. A foreign key to a table that is emptied at home would stop what arrives.
 */
export function regionSchema(): string[] {
  return [
    ...PUBLISHED.flatMap(looserColumns),
    ...foreignKeysToPublished().map(
      ({ table, key }) => `ALTER TABLE latchkey.${table} DROP CONSTRAINT IF EXISTS ${key}`,
    ),
    // Home copies the rate of a root, and what it copied arrives.
    'ALTER TABLE latchkey.api_keys DISABLE TRIGGER api_keys_copy_root_rate',
    GUARD_FUNCTION,
    // For changes of this database alone (ORIGIN, the default): what arrives does not fire them.
    ...PUBLISHED.map(
      ({ name }) =>
        `CREATE OR REPLACE TRIGGER ${GUARD} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON latchkey.${name} FOR EACH STATEMENT EXECUTE FUNCTION latchkey.refuse_local_change()`,
    ),
  ]
}

/** The columns that stay at home may be missing, and no CHECK asks for them. */
function looserColumns({ table, name, kept }: (typeof PUBLISHED)[number]): string[] {
  const { columns, checks } = getTableConfig(table)
  const needed = columns.filter(
    (column) => kept.includes(column.name) && column.notNull && !column.hasDefault,
  )
  const asking = checks.filter(({ value }) => columnsOf(value).some((column) => kept.includes(column)))
  return [
    ...needed.map((column) => `ALTER TABLE latchkey.${name} ALTER COLUMN ${column.name} DROP NOT NULL`),
    ...asking.map((check) => `ALTER TABLE latchkey.${name} DROP CONSTRAINT IF EXISTS ${check.name}`),
  ]
}

/** The columns that a piece of SQL names. */
function columnsOf(value: SQL): string[] {
  return value.queryChunks.flatMap((chunk) => {
    if (is(chunk, Column)) return [chunk.name]
    return is(chunk, SQL) ? columnsOf(chunk) : []
  })
}

function foreignKeysToPublished(): { table: string; key: string }[] {
  const published = new Set(PUBLISHED.map(({ name }) => name))
  return EVERY_TABLE.flatMap((table) => {
    const { name, foreignKeys } = getTableConfig(table)
    return foreignKeys
      .filter((key) => published.has(getTableConfig(key.reference().foreignTable).name))
      .map((key) => ({ table: name, key: key.getName() }))
  })
}
