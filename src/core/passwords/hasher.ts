import type { Config } from '../../config/config.ts'
import { countTowardsDeadline, remainingMs } from '../../lib/deadline.ts'
import { type Caller, createFairQueue, type QueueLoad } from './fair-queue.ts'
import { createFloor, type Floor } from './floor.ts'
import { kindOf, sampleOf } from './kinds.ts'
import { isTooLong, normalisePassword } from './policy.ts'

/** Hashes and checks passwords, a few at a time. */
export type PasswordHasher = {
  /** @throws Problem unavailable where too many wait */
  hash(password: string, caller: Caller): Promise<string>
  /**
   * Whether an account may be entered with a password. No takes the same time whether there is no such account, it has no
   * password or another, or is disabled.
   * @throws Problem unavailable where too many wait
   */
  verify(password: string, account: Account | null, caller: Caller): Promise<boolean>
  /** Takes note of kinds of hashes that are stored: by the dearest of them a failed check is drawn out. */
  learn: Floor['learn']
  /** Whether a hash that just fitted should be replaced by one of today's kind. */
  isOutdated(hash: string): boolean
  load(): QueueLoad
}

/** What decides whether a password lets somebody in. */
export type Account = { passwordHash: string | null; isActive: boolean }

/** What a new argon2id hash costs: KiB of memory, and passes over it. */
export type PasswordCost = { memoryCost: number; timeCost: number }

/** OWASP's second recommendation for argon2id: 19 MiB, two passes; `p` is 1 in Bun. */
export const OWASP_COST: PasswordCost = { memoryCost: 19_456, timeCost: 2 }

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
  const presentKind = `$argon2id$v=19$m=${cost.memoryCost},t=${cost.timeCost},p=1`
  /** For an account that does not exist, or has no password. */
  const nobody = sampleOf(presentKind)
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
      const stored = account?.passwordHash ?? nobody
      const readings = readingsOf(typed)
      const [password = ''] = readings
      const check = await run(caller, () =>
        checkReadings(isOutdated(stored) ? readings : [password], stored, floor),
      )
      if (check.fits && account?.passwordHash && account.isActive) return true
      // Not in the queue: the place is free for the next one.
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
  // A damaged hash, or one of no known kind, fits nothing. It is refused at once: that is no kind's cost.
  if (kind !== null && fits !== null) floor.observe(kind, ms, hashes)
  return { fits: fits === true, ms }
}

/** What may have been hashed, first in today's form. Where a hash comes from they took a password as it was typed. */
function readingsOf(typed: string): Set<string> {
  return new Set([normalisePassword(typed).toWellFormed(), typed.toWellFormed()])
}

function inputFor(hash: string, password: string): string | Uint8Array {
  return hash.startsWith('$2') ? Buffer.from(password).subarray(0, BCRYPT_BYTES) : password
}
