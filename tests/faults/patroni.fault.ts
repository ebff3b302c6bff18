import { call, newKey } from '../support/client.ts'
import { LACKS, startPatroni } from '../support/patroni.ts'
import { REDIS_SERVER, startRedis } from '../support/redis.ts'
import { startBed } from './bed.ts'
import { cutFromEtcd, freezeNode, killNode, killPostgres, switchOver, type Trial } from './failovers.ts'
import { type Fault, type Outcome, repeat } from './fault.ts'
import { underLoad } from './load.ts'

/** How soon all requests succeed again after the new primary takes writes. The machine may add what the control shows. */
const SERVING_MS = 2000

/** How Latchkey finds the primary: by all hosts in DATABASE_URL, or by one name. */
const WAYS = { 'several hosts': 'url', HAProxy: 'proxiedUrl' } as const

/** Runs a trial on the example of `deploy/patroni`, with two servers and Redis. */
async function onPatroni(
  way: keyof typeof WAYS,
  rounds: number,
  trial: Trial,
  options: Parameters<typeof startPatroni>[0] = {},
): Promise<Outcome> {
  await using cluster = await startPatroni(options)
  const redis = await startRedis()
  try {
    const env = { REDIS_URL: redis.url }
    await using bed = await startBed({ database: cluster[WAYS[way]], servers: 2, env })
    let turn = 0
    const pick = () => bed.places[turn++ % bed.places.length]?.url ?? ''
    return await underLoad(
      bed,
      (load) =>
        repeat(rounds, async () => {
          await cluster.settled()
          await load.calm(1000)
          await trial(cluster, load, bed)
        }),
      { clients: 6, pick },
    )
  } finally {
    await redis.stop()
  }
}

/** The short form. A standby that joins again may hold commits back, so each fault lasts until all nodes are back. */
const switchOverThenKill: Trial = async (cluster, { during }) => {
  const old = await cluster.takingWrites()
  await during({}, async () => {
    await cluster.switchOver(old)
    await cluster.takingWrites(old)
    await cluster.settled()
  })
  const next = await cluster.takingWrites()
  await during({}, async () => {
    next.killPostgres()
    await cluster.takingWrites()
    await cluster.settled()
  })
}

const SHORT: Fault = {
  name: 'patroni: a switchover, then PostgreSQL killed',
  roundSeconds: 40,
  isFelt: true,
  lacks: LACKS ?? (REDIS_SERVER ? null : 'redis-server'),
  run: (rounds) =>
    // The test is about Latchkey. A Patroni that looks more often is done sooner.
    onPatroni('several hosts', rounds, switchOverThenKill, { loopSeconds: 1 }),
}

const LONG: Record<string, Trial> = {
  'a planned switchover': switchOver,
  'PostgreSQL of the primary killed': killPostgres,
  'PostgreSQL and Patroni of the primary killed': killNode,
  'the primary frozen, and woken after a failover': freezeNode,
  'the primary cut from etcd alone': cutFromEtcd,
}

const long = (name: string, way: keyof typeof WAYS, trial: Trial): Fault => ({
  ...SHORT,
  name: `patroni: ${name}, by ${way}`,
  isLong: true,
  async run(rounds) {
    const outcome = await onPatroni(way, rounds, trial)
    const { recoveryMs, controlMs } = outcome
    if (recoveryMs <= SERVING_MS + controlMs) return outcome
    const late = `it served again ${recoveryMs} ms after the new primary took writes`
    return { ...outcome, violations: [...outcome.violations, late] }
  },
})

/** Without a synchronous standby the last changes are lost, revocations too. The run counts them. */
const ASYNCHRONOUS: Fault = {
  ...SHORT,
  name: 'patroni: asynchronous replication, the primary killed',
  isLong: true,
  async run(rounds) {
    const outcome = await onPatroni('several hosts', rounds, loseChanges, { isSynchronous: false })
    const lost = outcome.violations.filter((what) => /acknowledged|revoked|credits|answered 40/.test(what))
    return {
      ...outcome,
      violations: outcome.violations.filter((what) => !lost.includes(what)),
      notes: [...outcome.notes, `kinds of acknowledged changes that were lost: ${lost.length}`, ...lost],
    }
  },
}

const REVOKED = `SELECT target_id AS id FROM latchkey.audit_events WHERE action = 'key.revoked'`

const loseChanges: Trial = async (cluster, { during, calm, checker }, bed) => {
  const old = await cluster.takingWrites()
  const [place] = bed.places
  if (!place) throw new Error('no server')
  const { id, key } = await newKey(place, bed.admin, { scopes: ['read'] })
  await calm(1000)
  await during({}, async () => {
    // What the standbys have not received yet is lost with the primary.
    old.stopReplication()
    await calm(500)
    const { status } = await call(place, `DELETE /keys/revoke/${id}`, { bearer: bed.admin })
    await calm(500)
    await old.killPatroni()
    old.killPostgres()
    const next = await cluster.takingWrites(old)
    if (status !== 200) return checker.violate(`the revocation was answered ${status}`)
    const kept = await cluster.ask<{ id: string }>(next, REVOKED, 'latchkey')
    const stop = await old.startAlone()
    const all = await cluster.ask<{ id: string }>(old, REVOKED, 'latchkey')
    await stop()
    const lost = (all ?? []).filter((row) => !kept?.some((other) => other.id === row.id))
    checker.note(`revocations in the old audit trail that the new primary lacks: ${lost.length}`)
    if (!lost.some((row) => row.id === id))
      checker.violate('the audit trail of the old primary lacks the revocation')
    const { body } = await call(place, 'POST /keys/verify', { apiKey: bed.verifier, json: { key } })
    checker.note(`the key whose revocation was lost: ${body?.code}`)
  })
  old.startPatroni()
}

export const faults: Fault[] = [
  SHORT,
  ...Object.entries(LONG).flatMap(([name, trial]) => [
    long(name, 'several hosts', trial),
    long(name, 'HAProxy', trial),
  ]),
  ASYNCHRONOUS,
]
