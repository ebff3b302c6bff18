import type { Config } from '../../config/config.ts'
import { countTowardsDeadline, remainingMs } from '../../lib/deadline.ts'
import { type Caller, createFairQueue, type QueueLoad } from './fair-queue.ts'
import { createFloor, type Floor } from './floor.ts'
import { kindOf, sampleOf } from './kinds.ts'
import { isTooLong, normalisePassword } from './policy.ts'

/** Hashes and checks passwords, a bounded number at once. */
export type PasswordHasher = {
  /** @throws Problem unavailable where the queue is full */
  hash(password: string, caller: Caller): Promise<string>
  /**
   * Whether a password opens an account. A negative answer takes the same time whether the account does not exist, has
   * no password, has another password, or is disabled. Otherwise the duration would tell which addresses have accounts.
   * @throws Problem unavailable where the queue is full
   */
  verify(password: string, account: Account | null, caller: Caller): Promise<boolean>
  /** Records which kinds of hashes are stored. Failed checks take as long as the slowest of them. */
  learn: Floor['learn']
  /** Whether a hash that has just matched should be replaced by one of today's kind. */
  isOutdated(hash: string): boolean
  load(): QueueLoad
}

/** What decides whether a password opens an account. */
export type Account = { passwordHash: string | null; isActive: boolean }

/** The cost of a new argon2id hash: KiB of memory, and passes over it. */
export type PasswordCost = { memoryCost: number; timeCost: number }

/** OWASP's second recommendation for argon2id: 19 MiB and two passes. The parallelism `p` is always 1 in Bun. */
export const OWASP_COST: PasswordCost = { memoryCost: 19_456, timeCost: 2 }

/**
 * bcrypt uses the first 72 bytes of a password, and the replaced service cut passwords there. Bun instead hashes a
 * longer password first, which would match no imported hash.
 */
const BCRYPT_BYTES = 72

/**
 * Creates the hasher. Hashing runs behind a bounded queue: a storm of log-ins must neither slow verification down nor
 * fill the memory.
 * @param cost of new hashes; only tests lower it
 */
export function createPasswordHasher(
  config: Pick<Config, 'passwordHashConcurrency'>,
  cost = OWASP_COST,
): PasswordHasher {
  const presentKind = `$argon2id$v=19$m=${cost.memoryCost},t=${cost.timeCost},p=1`
  /** The hash that is checked where an account does not exist or has no password, so that the check takes as long. */
  const unmatchable = sampleOf(presentKind)
  const isOutdated = (hash: string) => kindOf(hash) !== presentKind
  const queue = createFairQueue(config.passwordHashConcurrency)
  const floor = createFloor(presentKind)
  const run = <R>(caller: Caller, work: () => Promise<R>) =>
    countTowardsDeadline(() => queue.run(caller, work))
  return {
    hash: (password, caller) =>
      run(caller, () => Bun.password.hash(password, { algorithm: 'argon2id', ...cost })),
    async verify(typed, account, caller) {
      if (typed === '' || isTooLong(typed)) return false
      const stored = account?.passwordHash ?? unmatchable
      const readings = readingsOf(typed)
      const [password = ''] = readings
      const check = await run(caller, () =>
        checkReadings(isOutdated(stored) ? readings : [password], stored, floor),
      )
      if (check.fits && account?.passwordHash && account.isActive) return true
      // The wait is outside of the queue, so that the place is free for the next check.
      const missingMs = Math.min(await floor.missingMs(check.ms, readings.size), remainingMs())
      if (missingMs > 0) await countTowardsDeadline(() => Bun.sleep(Math.ceil(missingMs)))
      return false
    },
    learn: floor.learn,
    isOutdated,
    load: queue.load,
  }
}

async function checkReadings(readings: Iterable<string>, stored: string, floor: Floor) {
  const start = performance.now()
  let fits: boolean | null = null
  let hashes = 0
  for (const password of readings) {
    fits = await Bun.password.verify(inputFor(stored, password), stored).catch(() => null)
    hashes += 1
    if (fits !== false) break
  }
  const ms = performance.now() - start
  const kind = kindOf(stored)
  // A damaged hash, or one of an unknown kind, matches no password and fails at once. Its duration says nothing about a
  // kind, so it is not recorded.
  if (kind !== null && fits !== null) floor.observe(kind, ms, hashes)
  return { fits: fits === true, ms }
}

/**
 * The texts that may have been hashed, today's normal form first. Services from which hashes are imported hashed the
 * password as it was typed.
 */
function readingsOf(typed: string): Set<string> {
  return new Set([normalisePassword(typed).toWellFormed(), typed.toWellFormed()])
}

function inputFor(hash: string, password: string): string | Uint8Array {
  return hash.startsWith('$2') ? Buffer.from(password).subarray(0, BCRYPT_BYTES) : password
}
