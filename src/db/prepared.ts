import type { Database } from './database.ts'

/** Statements that are prepared once for each database (or transaction) that they are asked of: what is hot. */
export function preparedFor<Statements>(prepare: (db: Database) => Statements): (db: Database) => Statements {
  const known = new WeakMap<Database, Statements>()
  return (db) => {
    const prepared = known.get(db) ?? prepare(db)
    known.set(db, prepared)
    return prepared
  }
}
