import type { Database } from './database.ts'

/** Prepares statements once for each database or transaction. For statements of the hot path. */
export function preparedFor<Statements>(prepare: (db: Database) => Statements): (db: Database) => Statements {
  const known = new WeakMap<Database, Statements>()
  return (db) => {
    const prepared = known.get(db) ?? prepare(db)
    known.set(db, prepared)
    return prepared
  }
}
