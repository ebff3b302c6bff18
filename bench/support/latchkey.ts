import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { call, newKey, newPerson, type Person } from '../../tests/support/client.ts'
import { createDatabase } from '../../tests/support/postgres.ts'
import { type ServerProcess, startServerProcess } from './process.ts'

/** A Latchkey as in production, somebody who has an account, and a key of theirs with the scope "read". */
export type Latchkey = ServerProcess & { person: Person; key: string }

const ROOT = join(import.meta.dir, '../..')

/** What starts Latchkey: its source, or the binary that the environment names. */
export const program = process.env.LATCHKEY_BINARY
  ? [process.env.LATCHKEY_BINARY]
  : [process.execPath, join(ROOT, 'src/main.ts')]

/** Starts it on a PostgreSQL database of its own, with every setting at its default: limits and access log are on. */
export async function startLatchkey(): Promise<Latchkey> {
  const database = await createDatabase({ migrated: false })
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
  const server = await startServerProcess([...program, 'serve'], {
    DATABASE_URL: database.url,
    SECRET_KEY: randomBytes(48).toString('base64'),
    DATA_DIR: directory,
    PORT: '0',
    // Where the system chooses the port, nobody can know the issuer from it.
    PUBLIC_URL: 'http://localhost',
  })
  const person = await newPerson(server)
  const { key } = await newKey(server, person.access, { name: 'bench', scopes: ['read'] })
  return {
    ...server,
    person,
    key,
    async stop() {
      await server.stop()
      await database.drop()
      rmSync(directory, { recursive: true })
    },
  }
}

/**
 * The body that one request is answered with.
 * @throws Error where the answer lacks anything that production's has: what is measured is the whole service
 */
export async function checkAnswer(
  { url }: ServerProcess,
  { path, headers }: { path: string; headers: Record<string, string> },
): Promise<string> {
  const answer = await call({ url }, `GET ${path}`, { headers })
  const missing = ['x-request-id', 'x-content-type-options', 'referrer-policy', 'cache-control'].filter(
    (name) => !answer.headers.has(name),
  )
  if (answer.status !== 200 || missing.length > 0) {
    throw new Error(`${path} answered ${answer.status} without ${missing.join(', ')}: ${answer.text}`)
  }
  return answer.text
}
