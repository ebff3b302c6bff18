import postgres from 'postgres'
import { REPLICATION_ROLE } from '../../src/db/published.ts'
import { emptyDirectory, type RunningProgram, startProgram } from '../support/binary.ts'
import { type Answer, call } from '../support/client.ts'
import { LACKS, type Node, type PatroniCluster, startPatroni } from '../support/patroni.ts'
import { hasVersion } from '../support/postgres.ts'
import { PROGRAM } from '../support/program.ts'
import {
  copied,
  publish,
  resync,
  type Side,
  SLOT,
  startRegion,
  subscribe,
  verifierUrlOf,
} from '../support/region.ts'
import { until } from '../support/until.ts'
import { type Bed, startBed } from './bed.ts'
import { freezeNode, killNode, killPostgres, switchOver, type Trial } from './failovers.ts'
import { type Fault, type Outcome, repeat } from './fault.ts'
import type { Checker } from './findings.ts'
import { type Load, underLoad } from './load.ts'

/** VERIFY_MAX_STALENESS_SECONDS: whatever happens to the stream, a revocation holds within it. */
const HOLDS_WITHIN_MS = 10_000
const PASSWORD = 'any'
/** The settings of docs/regions.md: the slot is copied to the standbys, and no slot of a copy is dropped. */
const SLOTS = { [SLOT]: { type: 'logical', database: 'latchkey', plugin: 'pgoutput' } }
const IGNORED = [{ type: 'logical', plugin: 'pgoutput' }]
const ASK_EVERY_MS = 20
const PATIENCE_MS = 180_000

/** Home on a Patroni cluster, and a region that follows it. */
type Ground = {
  cluster: PatroniCluster
  bed: Bed
  region: Side
  connection: string
  verifier: RunningProgram
}

/** Keys whose state at home was acknowledged. */
type Ledger = { dead: { key: string; endedAt: number }[]; alive: string[] }

const long = (name: string, trial: Trial): Fault => ({
  name: `region: ${name} of home's cluster`,
  roundSeconds: 60,
  isFelt: true,
  isLong: true,
  lacks: LACKS ?? (hasVersion(18) ? null : 'PostgreSQL 18'),
  run: (rounds) => follow(rounds, trial),
})

async function follow(rounds: number, trial: Trial): Promise<Outcome> {
  const here = emptyDirectory()
  const region = await startRegion(18)
  let verifier: RunningProgram | undefined
  try {
    await using cluster = await startPatroni({
      settings: { ignore_slots: IGNORED },
      parameters: { wal_level: 'logical' },
    })
    await using bed = await startBed({ database: cluster.url, servers: 2 })
    const connection = connectionTo(cluster)
    await atHome(cluster, async (sql) => {
      await publish({ sql })
      await sql.unsafe(`ALTER ROLE ${REPLICATION_ROLE} PASSWORD '${PASSWORD}'`)
    })
    await subscribe(region, connection)
    await copied({ region })
    await keepSlot(cluster)
    const running = await startVerifier(here.path, bed, region)
    verifier = running
    const ground: Ground = { cluster, bed, region, connection, verifier: running }
    await isReady(ground)
    let turn = 0
    const pick = () => bed.places[turn++ % bed.places.length]?.url ?? ''
    return await underLoad(
      bed,
      (load) =>
        repeat(rounds, async () => {
          await cluster.settled()
          const before = await timelineOf(cluster)
          const watch = watchRegion(ground, load.checker)
          await load.calm(3000)
          await trial(cluster, load, bed)
          const ledger = await afterwards(ground, load, before, watch)
          await checkAll(ground, load.checker, ledger)
        }),
      { clients: 4, pick },
    )
  } finally {
    await verifier?.end('SIGKILL')
    await region.sql.end({ timeout: 1 })
    await region.server.remove()
    here[Symbol.dispose]()
  }
}

/** The region asks each node for the one that takes writes, and waits for none that stands still. */
const connectionTo = ({ nodes }: PatroniCluster): string =>
  [
    `host=${nodes.map(() => '127.0.0.1').join(',')} port=${nodes.map(({ port }) => port).join(',')}`,
    `dbname=latchkey user=${REPLICATION_ROLE} password=${PASSWORD}`,
    'target_session_attrs=read-write connect_timeout=2',
  ].join(' ')

/** Works at home as superuser, at the node that takes writes. */
async function atHome<T>(cluster: PatroniCluster, work: (sql: postgres.Sql) => Promise<T>): Promise<T> {
  const { port } = await cluster.takingWrites()
  const sql = postgres(`postgres://postgres:${PASSWORD}@127.0.0.1:${port}/latchkey`, {
    max: 1,
    onnotice: () => {},
  })
  try {
    return await work(sql)
  } finally {
    await sql.end({ timeout: 1 })
  }
}

const timelineOf = (cluster: PatroniCluster): Promise<number> =>
  atHome(cluster, async (sql) => {
    const [row] = await sql`SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) AS timeline`
    return Number.parseInt(row?.timeline, 16)
  })

/** Names the slot in Patroni's settings, and waits until each node has it. */
async function keepSlot(cluster: PatroniCluster): Promise<void> {
  await cluster.configure({ slots: SLOTS })
  const hasSlot = async (node: Node) =>
    ((await cluster.ask(node, `SELECT FROM pg_replication_slots WHERE slot_name = '${SLOT}'`))?.length ?? 0) >
    0
  const all = async () => (await Promise.all(cluster.nodes.map(hasSlot))).every(Boolean)
  await until(all, 'each node has the slot', PATIENCE_MS)
  await cluster.settled()
}

function startVerifier(cwd: string, bed: Bed, region: Side): Promise<RunningProgram> {
  const env = {
    MODE: 'verify',
    DATABASE_URL: verifierUrlOf(region),
    HOME_URL: bed.places[0]?.url ?? '',
    VERIFY_MAX_STALENESS_SECONDS: String(HOLDS_WITHIN_MS / 1000),
    RATE_LIMITS: 'off',
  }
  return startProgram([...PROGRAM, 'serve'], { cwd, env })
}

const isReady = ({ verifier }: Ground): Promise<void> =>
  until(
    async () => (await call(verifier, 'GET /readyz')).status === 200,
    'the verifier is ready',
    PATIENCE_MS,
  )

const ask = ({ verifier, bed }: Ground, key: string): Promise<Answer> =>
  call(verifier, 'POST /keys/verify', { apiKey: bed.verifier, json: { key, cost: 0 } })

/**
 * Makes keys at home and revokes some of them without a pause, and asks the region about them.
 * @returns a function that ends it, with what was acknowledged
 */
function watchRegion(ground: Ground, checker: Checker): () => Promise<Ledger> {
  const { bed } = ground
  const ledger: Ledger = { dead: [], alive: [] }
  const answers = { good: 0, refused: 0, stale: 0 }
  let longestMs = 0
  let isOn = true
  let turn = 0
  const atSome = async (route: string, json?: unknown): Promise<Answer | null> => {
    const place = bed.places[turn++ % bed.places.length]
    if (!place) throw new Error('no server')
    return await call(place, route, { bearer: bed.admin, json }).catch(() => null)
  }
  const changing = async () => {
    while (isOn) {
      const made = await atSome('POST /keys/create', { scopes: ['read'] })
      if (made?.status !== 201) {
        await Bun.sleep(ASK_EVERY_MS)
        continue
      }
      const { id, key } = made.body
      const isAnswered = async () => {
        const { status, body } = await ask(ground, key)
        return status === 503 || body?.valid === true || !isOn
      }
      await until(isAnswered, 'the region has a new key', PATIENCE_MS)
      if (ledger.dead.length > 3 * ledger.alive.length) {
        ledger.alive.push(key)
        continue
      }
      const revoked = await atSome(`DELETE /keys/${id}`)
      // Of one that was not answered it is not known whether it is revoked.
      if (revoked?.status === 200) ledger.dead.push({ key, endedAt: performance.now() })
    }
  }
  const asking = async () => {
    while (isOn) {
      await Bun.sleep(ASK_EVERY_MS)
      const newest = Math.random() < 0.7
      const { dead } = ledger
      const one = newest ? dead.at(-1) : dead[Math.floor(Math.random() * dead.length)]
      if (!one) continue
      const sentAt = performance.now()
      const { status, body } = await ask(ground, one.key)
      if (status === 503) answers.stale++
      else if (body?.valid === false) answers.refused++
      else if (body?.valid === true) {
        answers.good++
        const pastMs = sentAt - one.endedAt
        longestMs = Math.max(longestMs, pastMs)
        if (pastMs > HOLDS_WITHIN_MS + checker.findings().controlMs)
          checker.violate(`a revoked key is let in in the region after ${Math.round(pastMs)} ms`)
      } else checker.violate(`the region answered ${status} ${body?.code}`)
    }
  }
  const working = [changing(), asking(), asking()]
  return async () => {
    isOn = false
    await Promise.all(working)
    checker.note(
      `of ${ledger.dead.length} revoked keys the region said ${answers.good} times good (after ${Math.round(longestMs)} ms at the latest), ${answers.refused} times refused and ${answers.stale} times stale`,
    )
    return ledger
  }
}

/**
 * A slot of PostgreSQL 15 may skip changes in a failover. So the verifier answers nothing behind it, until all is copied again.
 * @param watch ends the watch of the region
 */
async function afterwards(
  { cluster, region, connection, verifier, bed }: Ground,
  { checker, during }: Load,
  before: number,
  watch: () => Promise<Ledger>,
): Promise<Ledger> {
  const ground = { cluster, region, connection, verifier, bed }
  await cluster.settled()
  const after = await timelineOf(cluster)
  if (after === before) {
    // The same primary goes on, and so does its slot.
    await isReady(ground)
    await Bun.sleep(HOLDS_WITHIN_MS)
    checker.note('home has the same timeline, and the region followed it')
    return await watch()
  }
  const reason = async () => {
    const [row] = await region.sql`SELECT reason FROM latchkey.region_state`
    return row?.reason
  }
  await until(
    async () => (await reason()) !== undefined,
    'the failover is noticed in the region',
    PATIENCE_MS,
  )
  checker.note(`the region noticed it: ${await reason()}`)
  const ledger = await watch()
  const last = ledger.alive.at(-1) ?? ''
  const { status, body } = await ask(ground, last)
  if (status !== 503 || body?.code !== 'stale')
    checker.violate(`the region answered ${status} ${body?.code} after a failover, before its resync`)
  // The standbys start again to get the slot, so changes wait for one.
  await during({}, async () => {
    // Patroni would make the slot again while the subscription is made.
    await cluster.configure({ slots: { [SLOT]: null } })
    await atHome(cluster, (sql) =>
      resync({ home: { sql }, region: { sql: region.sql, connection }, beat: () => Promise.resolve() }),
    )
    await keepSlot(cluster)
  })
  await isReady(ground)
  return ledger
}

/** What home acknowledged is true in the region. */
async function checkAll(ground: Ground, checker: Checker, { dead, alive }: Ledger): Promise<void> {
  if (dead.length === 0 || alive.length === 0)
    checker.violate('no key was revoked, or none was kept: this run proves nothing')
  for (const { key } of dead) {
    const { body } = await ask(ground, key)
    if (body?.code !== 'REVOKED') checker.violate(`a revoked key is ${body?.code} in the region in the end`)
  }
  for (const key of alive) {
    const { body } = await ask(ground, key)
    if (body?.code !== 'VALID') checker.violate(`a good key is ${body?.code} in the region in the end`)
  }
}

export const faults: Fault[] = [
  long('a planned switchover', switchOver),
  long('PostgreSQL killed on the primary', killPostgres),
  long('PostgreSQL and Patroni killed on the primary', killNode),
  long('the primary frozen, and woken after a failover,', freezeNode),
]
