import pLimit from 'p-limit'
import type { Config } from '../../config/config.ts'
import { countTowardsDeadline, remainingMs } from '../../lib/deadline.ts'
import { fail } from '../../lib/errors.ts'
import { isTooLong, normalisePassword } from './policy.ts'

/** Hashes and checks passwords, a few at a time. */
export type PasswordHasher = {
  /** @throws Problem unavailable where too many wait */
  hash(password: string): Promise<string>
  /**
   * Whether the password fits. `null` as the hash (nobody, or nobody with a password) does the same work and says no.
   * @throws Problem unavailable where too many wait
   */
  verify(password: string, hash: string | null): Promise<boolean>
  /** Whether a hash that just fitted should be replaced by one of today's kind. */
  isOutdated(hash: string): boolean
  load(): HashingLoad
}

/** What the queue of hashing is doing, and how many it has turned away. */
export type HashingLoad = { running: number; waiting: number; limit: number; turnedAway: number }

/** What a new argon2id hash costs: KiB of memory, and passes over it. */
export type PasswordCost = { memoryCost: number; timeCost: number }

/** OWASP's second recommendation for argon2id: 19 MiB, two passes; `p` is 1 in Bun. */
export const OWASP_COST: PasswordCost = { memoryCost: 19_456, timeCost: 2 }

/** How many may wait for each one that hashes: about two and a half seconds' worth; and how long on a slower machine. */
const WAITING_PER_LANE = 100
const WAIT_MS = 2_500
/** bcrypt never saw more, and the replaced service cut passwords there; Bun would hash the rest in instead. */
const BCRYPT_BYTES = 72

/**
 * Hashing runs behind a bounded queue: a storm of logins must not be felt by verification, nor fill the memory.
 * @param cost of new hashes; lower only in tests
 */
export function createPasswordHasher(
  config: Pick<Config, 'passwordHashConcurrency'>,
  cost = OWASP_COST,
): PasswordHasher {
  const presentKind = `$argon2id$v=19$m=${cost.memoryCost},t=${cost.timeCost},p=1$`
  /** A well-formed hash of nothing that anybody typed: checking against it takes the time that a real one takes. */
  const nobody = `${presentKind}${'A'.repeat(43)}$${'A'.repeat(43)}`
  const isOutdated = (hash: string) => !hash.startsWith(presentKind)
  const lane = pLimit(config.passwordHashConcurrency)
  const limit = WAITING_PER_LANE * config.passwordHashConcurrency
  let turnedAway = 0
  const turnAway = (): never => {
    turnedAway += 1
    fail('unavailable', {
      detail: 'Too many logins at once; try again shortly.',
      headers: { 'Retry-After': '1' },
    })
  }
  const queue = <R>(work: () => Promise<R>): Promise<R> => {
    if (lane.pendingCount >= limit) turnAway()
    const end = performance.now() + Math.min(WAIT_MS, remainingMs())
    return countTowardsDeadline(() => lane(() => (performance.now() > end ? turnAway() : work())))
  }
  return {
    hash: (password) => queue(() => Bun.password.hash(password, { algorithm: 'argon2id', ...cost })),
    async verify(typed, hash) {
      if (typed === '' || isTooLong(typed)) return false
      const stored = hash ?? nobody
      for (const password of readingsOf(typed, isOutdated(stored))) {
        // A stored hash of no known kind fits nothing.
        const fits = await queue(() =>
          Bun.password.verify(inputFor(stored, password), stored).catch(() => false),
        )
        if (fits) return hash !== null
      }
      return false
    },
    isOutdated,
    load: () => ({ running: lane.activeCount, waiting: lane.pendingCount, limit, turnedAway }),
  }
}

/** What may have been hashed. Where a hash comes from they took a password as it was typed, in whichever form. */
function readingsOf(typed: string, isOutdated: boolean): Set<string> {
  const password = normalisePassword(typed).toWellFormed()
  return new Set(isOutdated ? [password, typed.toWellFormed()] : [password])
}

function inputFor(hash: string, password: string): string | Uint8Array {
  return hash.startsWith('$2') ? Buffer.from(password).subarray(0, BCRYPT_BYTES) : password
}
