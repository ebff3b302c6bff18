import { EVICTION_CHANNEL } from '../../src/db/eviction.ts'
import { emptyDirectory, type RunningProgram, startProgram } from '../support/binary.ts'
import { call, insist, newKey } from '../support/client.ts'
import { testConfig } from '../support/config.ts'
import { type DatabaseProxy, startDatabaseProxy } from '../support/database-proxy.ts'
import { keepAliveClient } from '../support/http-socket.ts'
import { addLoggedIn } from '../support/people.ts'
import { hasVersion, type PostgresVersion } from '../support/postgres.ts'
import { PROGRAM } from '../support/program.ts'
import { listenTo, type Pair, startPair } from '../support/region.ts'
import { startService, type TestService } from '../support/service.ts'
import { makeSubjects, type Subject } from '../support/subjects.ts'
import { until } from '../support/until.ts'
import { type Fault, type Outcome, repeat } from './fault.ts'
import { type Checker, createChecker } from './findings.ts'
import { inForm } from './form.ts'

/** Races at the same time, and races of a round: 40 rounds are 10,000. */
const BATCH = 25
const BATCHES = 10
/** In the short form: of each kind, and `held` again, because at its first time the connections are only made. */
const FEW_BATCHES = 4
/** How soon a revocation holds in the region while heartbeats arrive within a second of being written. */
const HOLDS_WITHIN_MS = 2000
/** A credential that is not refused so long after its end is not late: it never is. */
const FOR_EVER_MS = 60_000
const ASKERS = 4
const ASK_EVERY_MS = 6
/** About the time from a revocation to its arrival: within it the first questions are spread. */
const AROUND_MS = 40
const WATCH_EVERY_MS = 50
const MOST_MORE_ROUNDS = 10

/** Where the race is: home in this process, the verifier in its own. */
type Field = {
  pair: Pair
  home: TestService
  verifier: RunningProgram
  /** Between the verifier and its database, but for the connection on which it hears evictions. */
  way: DatabaseProxy
  /** An admin's token. */
  admin: string
  /** A key that may ask about others. */
  watcher: string
  /** The evictions that the region's database has sent so far. */
  evictions: readonly string[]
  checker: Checker
  /** How much later than in a second a heartbeat arrived. */
  lateMs(): number
}

/** A credential that is ended, and how. */
type Runner = { kind: 'key' | 'session'; credential: string; id: string; subject: Subject; endedAt: number }

/** What was seen of all races. */
type Seen = { races: number; racedGood: number; heldGood: number; longestMs: number }

const racing = (homeVersion: PostgresVersion, regionVersion: PostgresVersion): Fault => ({
  name: `region: revocations race verifications, home ${homeVersion} and region ${regionVersion}`,
  roundSeconds: 5,
  isFelt: false,
  lacks: hasVersion(15) ? null : 'PostgreSQL 15',
  run: (rounds) => race(rounds, homeVersion, regionVersion),
})

async function race(
  rounds: number,
  homeVersion: PostgresVersion,
  regionVersion: PostgresVersion,
): Promise<Outcome> {
  const here = emptyDirectory()
  const pair = await startPair(homeVersion, regionVersion)
  const way = await startDatabaseProxy(pair.region.server.port)
  let home: TestService | undefined
  let verifier: RunningProgram | undefined
  let ear: Awaited<ReturnType<typeof listenTo>> | undefined
  let isOn = true
  const watching: Promise<void>[] = []
  try {
    // The admin's token lasts as long as a long run.
    const lasting = { accessTokenExpireMinutes: 1440 }
    home = await startService(lasting, { databaseUrl: pair.home.url, config: testConfig() })
    const admin = (await addLoggedIn(home, pair.home.sql, { role: 'admin' })).access
    const watcher = (await newKey(home, admin, { scopes: ['latchkey:verify'] })).key
    await pair.arrived()
    verifier = await startVerifier(here.path, home, way.url(pair.region.verifierUrl), pair.region.verifierUrl)
    ear = await listenTo(pair.region, [EVICTION_CHANNEL])
    const checker = createChecker()
    const control = watchRegion(pair, verifier, checker, () => isOn)
    watching.push(...control.watching)
    const field: Field = {
      ...{ pair, home, verifier, way, admin, watcher, checker },
      evictions: ear.heard,
      lateMs: control.lateMs,
    }
    const at = verifier
    const isReady = async () => (await call(at, 'GET /readyz')).status === 200
    await until(isReady, 'the verifier is ready')
    const seen: Seen = { races: 0, racedGood: 0, heldGood: 0, longestMs: 0 }
    await repeat(rounds, () => runRound(field, seen))
    const hasRaced = () => seen.racedGood > 0 && seen.heldGood > 0
    // Where the machine has other work, no question may have come between.
    for (let more = 0; more < MOST_MORE_ROUNDS && !hasRaced(); more++) await runRound(field, seen)
    if (!hasRaced()) checker.violate('no question raced a revocation: this run proves nothing')
    checker.note(
      `${seen.races} races; in ${seen.racedGood} a question was answered as good after its credential was revoked, and in ${seen.heldGood} the database had said so before`,
    )
    checker.note(
      `refused in the region ${Math.round(seen.longestMs)} ms after the answer at home at the latest; a heartbeat came ${Math.round(control.lateMs())} ms late at most`,
    )
    return { ...checker.findings(), writes: seen.races }
  } finally {
    isOn = false
    await Promise.all(watching)
    way.release()
    await verifier?.end('SIGKILL')
    await ear?.end()
    await home?.stop()
    way.close()
    await pair.end()
    here[Symbol.dispose]()
  }
}

function startVerifier(
  cwd: string,
  home: TestService,
  url: string,
  directUrl: string,
): Promise<RunningProgram> {
  const env = {
    MODE: 'verify',
    DATABASE_URL: url,
    DATABASE_DIRECT_URL: directUrl,
    // Held answers keep their connections.
    DATABASE_POOL_SIZE: String(2 * BATCH + 5),
    HOME_URL: home.url,
    PUBLIC_URL: home.config.publicUrl,
    JWT_AUDIENCE: home.config.jwtAudience,
    API_KEY_PREFIX: home.config.apiKeyPrefix,
    RATE_LIMITS: 'off',
  }
  return startProgram([...PROGRAM, 'serve'], { cwd, env })
}

/** The control: how late heartbeats arrive, and how long the verifier takes for a request that asks neither database nor home. */
function watchRegion({ region }: Pair, verifier: RunningProgram, checker: Checker, isOn: () => boolean) {
  let lateMs = 0
  const heartbeats = async () => {
    while (isOn()) {
      const [row] = await region.sql`SELECT extract(epoch FROM clock_timestamp() - at) AS age
        FROM latchkey.heartbeats`
      // One that is due each second is two seconds old before the next has arrived within its second.
      lateMs = Math.max(lateMs, Number(row?.age) * 1000 - 2000)
      await Bun.sleep(WATCH_EVERY_MS)
    }
  }
  const liveness = async () => {
    const client = keepAliveClient(() => verifier.url)
    while (isOn()) {
      checker.hearLive(await client.send('GET /livez'))
      await Bun.sleep(WATCH_EVERY_MS)
    }
    client.close()
  }
  return { watching: [heartbeats(), liveness()], lateMs: () => lateMs }
}

const KINDS = ['held', 'cold', 'warm'] as const

async function runRound(field: Field, seen: Seen): Promise<void> {
  const { pair, home } = field
  const batches = inForm(BATCHES, FEW_BATCHES)
  const subjects = await makeSubjects(home, pair.home.sql, BATCH * batches)
  await pair.arrived()
  const ended: Runner[] = []
  for (let batch = 0; batch < batches; batch++) {
    const runners = subjects
      .slice(batch * BATCH, (batch + 1) * BATCH)
      // Two of three are keys.
      .map((subject, i) => runnerOf(subject, i % 3 === 0 ? 'session' : 'key'))
    await raceBatch(field, seen, runners, KINDS[batch % KINDS.length] ?? 'held')
    ended.push(...runners)
    seen.races += runners.length
  }
  await Bun.sleep(HOLDS_WITHIN_MS)
  // What a late answer had put into the cache would still be there.
  for (const runner of ended)
    if ((await ask(field, runner)).isGood)
      field.checker.violate(`a ${runner.kind} that was refused in the region is good again`)
}

const runnerOf = (subject: Subject, kind: Runner['kind']): Runner => ({
  kind,
  credential: kind === 'key' ? subject.key : subject.access,
  id: kind === 'key' ? subject.keyId : subject.sessionId,
  subject,
  endedAt: Infinity,
})

/**
 * Ends credentials at home while they are asked about in the region. `held`: the database has answered these questions, and the
 * verifier gets the answers after it has heard of the end. `cold`: the first questions about them come around its arrival.
 * `warm`: the verifier has them in its cache.
 */
async function raceBatch(
  field: Field,
  seen: Seen,
  runners: readonly Runner[],
  kind: (typeof KINDS)[number],
): Promise<void> {
  const { way, evictions, checker } = field
  const heard = evictions.length
  await call(field.verifier, 'POST /verify', asking(field, field.watcher))
  if (kind === 'warm')
    for (const runner of runners)
      if ((await ask(field, runner)).isRefused) checker.violate(`a ${runner.kind} is refused before its end`)
  let flights: Promise<Asked>[] = []
  if (kind === 'held') {
    way.hold(2 * BATCH)
    flights = runners.map((runner) => ask(field, runner))
    await until(() => way.held() > 0, 'the database has answered')
    await Bun.sleep(AROUND_MS)
  }
  const ends = Promise.all(runners.map((runner) => end(field, runner)))
  const chases = kind === 'held' ? [] : runners.map((runner) => chase(field, runner))
  await ends
  if (kind === 'held') {
    const isHeard = () =>
      runners.every(({ id }) => evictions.slice(heard).some((message) => message.includes(id)))
    await until(isHeard, 'the region has heard of every end', FOR_EVER_MS)
    // The verifier has heard of it on the same channel.
    await Bun.sleep(AROUND_MS)
    way.release()
    const answers = await Promise.all(flights)
    seen.heldGood += answers.filter(({ isGood }) => isGood).length
    chases.push(...runners.map((runner) => chase(field, runner)))
  }
  for (const chased of await Promise.all(chases)) {
    if (chased.lastGoodMs > 0) seen.racedGood += 1
    seen.longestMs = Math.max(seen.longestMs, chased.refusedMs)
    const boundMs = HOLDS_WITHIN_MS + field.lateMs() + checker.findings().controlMs
    if (chased.lastGoodMs > boundMs)
      checker.delay(`a revoked credential is good in the region after ${Math.round(chased.lastGoodMs)} ms`)
  }
}

async function end({ home, admin, checker }: Field, runner: Runner): Promise<void> {
  const { keyId, access } = runner.subject
  await Bun.sleep(Math.random() * AROUND_MS)
  const send = () =>
    runner.kind === 'key'
      ? call(home, `DELETE /keys/${keyId}`, { bearer: admin })
      : call(home, 'POST /auth/logout', { bearer: access })
  const first = await send()
  const { status } = first.status === 503 ? await insist(send) : first
  runner.endedAt = performance.now()
  // A log-out that was answered 503 may have been made. Then its token is refused at the second try.
  const isMade = status === 200 || status === 204 || (first.status === 503 && status === 401)
  if (!isMade) checker.violate(`the end of a ${runner.kind} was answered ${status}`)
}

const asking = ({ watcher }: Field, credential: string) => ({
  bearer: watcher,
  json: { credential, cost: 0 },
})

type Asked = { sentAt: number; isGood: boolean; isRefused: boolean }

async function ask(field: Field, { credential, kind }: Runner): Promise<Asked> {
  const sentAt = performance.now()
  const { status, headers, body } = await call(field.verifier, 'POST /verify', asking(field, credential))
  const reply = { status, headers, body, failure: null, url: field.verifier.url, sentAt }
  // An answer that is held back too long is a 503, which the machine may do too. Whether it ends is what is asked.
  if (status !== 503) field.checker.hear('POST /verify', { ...reply, ms: performance.now() - sentAt })
  const [isGood, isRefused] = [body?.valid === true, body?.valid === false]
  if (status !== 503 && !isGood && !isRefused)
    field.checker.violate(`a question about a ${kind} was answered ${status} ${body?.code}`)
  return { sentAt, isGood, isRefused }
}

/**
 * Several ask about a credential until each was refused, and once more after that.
 * @returns the milliseconds from its end to the last question that was answered as good, and to the last first refusal
 */
async function chase(field: Field, runner: Runner): Promise<{ lastGoodMs: number; refusedMs: number }> {
  let [lastGoodAt, refusedAt] = [-Infinity, -Infinity]
  const follow = async () => {
    await Bun.sleep(Math.random() * 2 * AROUND_MS)
    for (;;) {
      const { sentAt, isGood, isRefused } = await ask(field, runner)
      if (isRefused) break
      if (isGood) lastGoodAt = Math.max(lastGoodAt, sentAt)
      if (sentAt - runner.endedAt > FOR_EVER_MS)
        return field.checker.violate(`a revoked ${runner.kind} is not refused in the region`)
      await Bun.sleep(ASK_EVERY_MS)
    }
    refusedAt = Math.max(refusedAt, performance.now())
  }
  await Promise.all(Array.from({ length: ASKERS }, follow))
  if ((await ask(field, runner)).isGood)
    field.checker.violate(`a revoked ${runner.kind} was refused in the region, and then good`)
  return { lastGoodMs: lastGoodAt - runner.endedAt, refusedMs: refusedAt - runner.endedAt }
}

export const faults: Fault[] = [racing(18, 15), racing(15, 18)]
