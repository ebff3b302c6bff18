import { remainingMs } from '../../lib/deadline.ts'
import { Problem } from '../../lib/errors.ts'
import { bucketOf } from '../../lib/ip.ts'

/** For whom a password is hashed: a client address, and the e-mail of an account, whether it exists or not. */
export type Caller = { address: string | null; account: string; isLogin?: boolean }

/** The present load of the queue, and the number of requests that it has refused. */
export type QueueLoad = { running: number; waiting: number; limit: number; turnedAway: number }

/** Runs a bounded number of jobs at once, and lets callers take turns. */
export type FairQueue = {
  /** @throws Problem unavailable where the queue is full for this caller, or the caller waited too long */
  run<R>(caller: Caller, work: () => Promise<R>): Promise<R>
  load(): QueueLoad
}

/** Waiting jobs per running one: about two and a half seconds of work. On a slower machine, WAIT_MS bounds the wait. */
const WAITING_PER_LANE = 100
const WAIT_MS = 2_500
/**
 * Shares of the places in the queue. Work other than log-ins takes at most half of them, one address half, one account
 * a tenth. Without the shares, one client could fill the queue and every log-in would be answered 503.
 */
const SHARE_OF_OTHERS = 0.5
const SHARE_OF_ADDRESS = 0.5
const SHARE_OF_ACCOUNT = 0.1

type Job = { keys: readonly string[]; start(): void }
/**
 * Waiting jobs by key. The first key has its turn next, and then moves to the end. The same holds on each level below.
 */
type Turns = Map<string, Turns | Set<Job>>

/**
 * A bounded queue in which neither one address nor one account can keep others waiting. Log-ins and other work take
 * turns; within each, the addresses take turns; within an address, its accounts (docs/decisions/0030).
 * @param concurrency the number of jobs that run at once
 */
export function createFairQueue(concurrency: number): FairQueue {
  const limit = WAITING_PER_LANE * concurrency
  const turns: Turns = new Map()
  /**
   * The jobs that still wait. A job that waited too long is removed here at once, and from `turns` when its turn comes.
   */
  const waiting = new Set<Job>()
  let running = 0
  let turnedAway = 0

  const turnAway = () => {
    turnedAway += 1
    return new Problem('unavailable', {
      detail: 'Too many logins at once; try again shortly.',
      headers: { 'Retry-After': '1' },
    })
  }
  const isFull = (keys: readonly string[]): boolean => {
    const [kind, address, account] = keys
    const counts = { all: 0, kind: 0, address: 0, account: 0 }
    for (const { keys: others } of waiting) {
      counts.all += 1
      if (others[0] === kind) counts.kind += 1
      if (others[1] === address) counts.address += 1
      if (others[2] === account) counts.account += 1
    }
    return (
      counts.all >= limit ||
      counts.address >= limit * SHARE_OF_ADDRESS ||
      counts.account >= limit * SHARE_OF_ACCOUNT ||
      (kind === OTHER && counts.kind >= limit * SHARE_OF_OTHERS)
    )
  }
  const wait = (keys: readonly string[], mayWaitMs: number): Promise<void> => {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const timer = setTimeout(() => {
      waiting.delete(job)
      reject(turnAway())
    }, mayWaitMs)
    const start = () => {
      clearTimeout(timer)
      resolve()
    }
    const job = { keys, start }
    waiting.add(job)
    addJob(turns, keys, job)
    return promise
  }
  const startNext = () => {
    for (let job = takeJob(turns); job; job = takeJob(turns)) {
      if (!waiting.delete(job)) continue
      running += 1
      return job.start()
    }
  }

  return {
    async run(caller, work) {
      const keys = keysOf(caller)
      const mayWaitMs = Math.min(WAIT_MS, remainingMs())
      if (mayWaitMs <= 0 || isFull(keys)) throw turnAway()
      if (running < concurrency) running += 1
      else await wait(keys, mayWaitMs)
      try {
        return await work()
      } finally {
        running -= 1
        startNext()
      }
    },
    load: () => ({ running, waiting: waiting.size, limit, turnedAway }),
  }
}

const LOGIN = 'login'
const OTHER = 'other'

function keysOf({ address, account, isLogin = false }: Caller): string[] {
  return [isLogin ? LOGIN : OTHER, bucketOf(address), account]
}

function addJob(turns: Turns, [key = '', ...inner]: readonly string[], job: Job): void {
  const next = turns.get(key) ?? (inner.length === 0 ? new Set() : new Map())
  turns.set(key, next)
  if (next instanceof Set) next.add(job)
  else addJob(next, inner, job)
}

function takeJob(turns: Turns | Set<Job>): Job | undefined {
  if (turns instanceof Set) {
    const [job] = turns
    if (job) turns.delete(job)
    return job
  }
  const [first] = turns
  if (!first) return undefined
  const [key, next] = first
  const job = takeJob(next)
  turns.delete(key)
  if (next.size > 0) turns.set(key, next)
  return job
}
