/**
 * A process that opens the embedded database in the directory of its first argument and prints "ready". Then
 * it inserts users without end, and prints each one after the database has acknowledged it. The second
 * argument is a snapshot, or "initdb".
 */
import { migrate } from '../../src/db/migrate.ts'
import { openDatabase } from '../../src/db/open.ts'
import { users } from '../../src/db/schema.ts'
import { silentLog } from '../../src/lib/log.ts'
import { databaseConfig } from './postgres.ts'
import { rows } from './rows.ts'

const [directory = '', from = 'initdb'] = process.argv.slice(2)
const config = databaseConfig(null, directory)
const snapshot = from === 'initdb' ? null : Bun.file(from)
const database = await openDatabase(config, silentLog, { creates: true, snapshot })
await migrate(config, database)
process.stdout.write('ready\n')
for (;;) {
  const user = rows.user()
  await database.db.insert(users).values(user)
  process.stdout.write(`${user.id}\n`)
}
