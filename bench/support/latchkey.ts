import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import postgres from 'postgres'
import { builtBinary } from '../../tests/support/binary.ts'
import { call, logIn, newKey, newPerson, type Person } from '../../tests/support/client.ts'
import type { TestDatabase } from '../../tests/support/postgres.ts'
import type { Program, RunOptions } from './entry.ts'
import type { LoadRequest } from './load.ts'
import { makeDatabase } from './postgres.ts'
import { type ServerProcess, startServerProcess } from './process.ts'

/** A Latchkey as in production, with its database and some users. */
export type Latchkey = ServerProcess & {
  /** A connection to its database, for rows that would take too long to create over HTTP. */
  sql: postgres.Sql
  databaseUrl: string
  secretKey: string
  metricsToken: string
  person: Person
  /** A key with the right to verify other keys. */
  verifierKey: string
  /** Starts another instance on the same database. It has not hashed a password yet. */
  startAnother(): Promise<ServerProcess>
}

const SOURCE = join(import.meta.dir, '../../src/main.ts')
export const ADMIN = { email: 'admin@example.com', password: 'correct-horse-battery' }

/**
 * The command line that starts Latchkey. Builds the binary if its source is newer, which takes up to half a
 * minute.
 */
export async function programOf(program: Program): Promise<string[]> {
  return program === 'binary' ? [await builtBinary()] : [process.execPath, '--no-env-file', SOURCE]
}

/**
 * Starts Latchkey on a new PostgreSQL database with the default settings: rate limits and access log are on.
 * @param env settings that differ
 * @param isPinned false: it may use every core
 * @param database one of its own, which is dropped with it
 */
export async function startLatchkey(
  { program, profileDirectory }: Pick<RunOptions, 'program' | 'profileDirectory'>,
  {
    env = {},
    isPinned = true,
    database = makeDatabase(),
  }: { env?: Record<string, string>; isPinned?: boolean; database?: Promise<TestDatabase> } = {},
): Promise<Latchkey> {
  const { url, drop } = await database
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
  const secretKey = randomBytes(48).toString('base64')
  const metricsToken = randomBytes(24).toString('hex')
  const command = await programOf(profileDirectory === null ? program : 'source')
  if (profileDirectory !== null) command.splice(1, 0, ...profiling(profileDirectory))
  const settings = {
    DATABASE_URL: url,
    SECRET_KEY: secretKey,
    DATA_DIR: directory,
    ADMIN_EMAIL: ADMIN.email,
    ADMIN_PASSWORD: ADMIN.password,
    METRICS_TOKEN: metricsToken,
    PORT: '0',
    // The system chooses the port, so the issuer cannot be derived from it.
    PUBLIC_URL: 'http://localhost',
    SHUTDOWN_DELAY_SECONDS: '0',
    // Counted as by default, but with a higher limit: all requests come from one address, which would be
    // refused after ten.
    RATE_LIMITS: 'login=1000000/1m,refresh=1000000/1m',
    ...env,
  }
  const start = () => startServerProcess([...command, 'serve'], settings, isPinned)
  const server = await start()
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  const stop = async () => {
    await server.stop(profileDirectory === null ? 'SIGKILL' : 'SIGTERM')
    await sql.end()
    await drop()
    rmSync(directory, { recursive: true })
  }
  try {
    const users = await setScene(server)
    return {
      ...server,
      ...users,
      sql,
      databaseUrl: url,
      secretKey,
      metricsToken,
      startAnother: start,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

async function setScene(server: ServerProcess): Promise<Pick<Latchkey, 'person' | 'verifierKey'>> {
  const admin = await logIn(server, ADMIN.email, ADMIN.password)
  const person = await newPerson(server)
  const verifier = await newKey(server, admin.access, { name: 'verifier', scopes: ['latchkey:verify'] })
  return { person, verifierKey: verifier.key }
}

const profiling = (directory: string) => ['--cpu-prof', '--cpu-prof-md', `--cpu-prof-dir=${directory}`]

/** The reads of the credential cache since the start, and how many of them were hits. */
export type CacheReads = { all: number; hits: number }

/** @throws Error if the metrics do not contain the numbers */
export async function cacheReads({ url, metricsToken }: Latchkey): Promise<CacheReads> {
  const { text } = await call({ url }, 'GET /metrics', { bearer: metricsToken })
  const read = (result: string) => {
    const count = new RegExp(`^latchkey_cache_reads_total\\{result="${result}"\\} (\\d+)$`, 'm').exec(
      text,
    )?.[1]
    if (count === undefined) throw new Error(`The metrics do not count a ${result} of the cache:\n${text}`)
    return Number(count)
  }
  const hits = read('hit')
  return { all: hits + read('miss') + read('bypass'), hits }
}

/** The share of hits, 0 to 1, among the reads between two moments. */
export const hitRatio = (after: CacheReads, before: CacheReads): number =>
  (after.hits - before.hits) / (after.all - before.all)

/**
 * `/keys/verify` reads the cache three times: for the caller's own key before and after the body, and for the key in
 * question. Where the last is never cached, two thirds are hits. A higher share means that other keys were cached too.
 */
export const MOST_HITS_OF_CALLER = 0.69

/** The request by which another service verifies a key. */
export function verification(
  { verifierKey }: Pick<Latchkey, 'verifierKey'>,
  key: string,
  code: 'VALID' | 'NOT_FOUND' = 'VALID',
): LoadRequest {
  return {
    path: '/keys/verify',
    method: 'POST',
    headers: { 'X-API-Key': verifierKey },
    json: { key },
    expected: `"code":"${code}"`,
  }
}

/**
 * Sends the first of some requests.
 * @returns its path, and the body of the answer
 * @throws Error if the answer lacks a header of a production answer: the whole service must be measured
 */
export async function checkAnswer(
  { url }: Pick<ServerProcess, 'url'>,
  [request]: readonly LoadRequest[],
): Promise<{ path: string; text: string }> {
  const { path, method = 'GET', headers = {}, json } = request ?? { path: '/' }
  const answer = await call({ url }, `${method} ${path}`, { headers, ...(json !== undefined && { json }) })
  const missing = ['x-request-id', 'x-content-type-options', 'referrer-policy', 'cache-control'].filter(
    (name) => !answer.headers.has(name),
  )
  if (answer.status !== 200 || missing.length > 0) {
    throw new Error(`${path} answered ${answer.status} without ${missing.join(', ')}: ${answer.text}`)
  }
  return { path, text: answer.text }
}
