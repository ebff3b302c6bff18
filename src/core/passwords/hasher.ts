import type { Config } from '../../config/config.ts'
import { countTowardsDeadline } from '../../lib/deadline.ts'
import { type Caller, createFairQueue, type QueueLoad } from './fair-queue.ts'
import { isTooLong, normalisePassword } from './policy.ts'

/** Hashes and checks passwords, a few at a time. */
export type PasswordHasher = {
  /** @throws Problem unavailable where too many wait */
  hash(password: string, caller: Caller): Promise<string>
  /**
   * Whether the password fits. `null` as the hash (nobody, or nobody with a password) does the same work and says no.
   * @throws Problem unavailable where too many wait
   */
  verify(password: string, hash: string | null, caller: Caller): Promise<boolean>
  /** Whether a hash that just fitted should be replaced by one of today's kind. */
  isOutdated(hash: string): boolean
  load(): QueueLoad
}

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
  const presentKind = `$argon2id$v=19$m=${cost.memoryCost},t=${cost.timeCost},p=1$`
  /** A well-formed hash of nothing that anybody typed: checking against it takes the time that a real one takes. */
  const nobody = `${presentKind}${'A'.repeat(43)}$${'A'.repeat(43)}`
  const isOutdated = (hash: string) => !hash.startsWith(presentKind)
  const queue = createFairQueue(config.passwordHashConcurrency)
  const run = <R>(caller: Caller, work: () => Promise<R>) =>
    countTowardsDeadline(() => queue.run(caller, work))
  return {
    hash: (password, caller) =>
      run(caller, () => Bun.password.hash(password, { algorithm: 'argon2id', ...cost })),
    async verify(typed, hash, caller) {
      if (typed === '' || isTooLong(typed)) return false
      const stored = hash ?? nobody
      const fits = await run(caller, () => checkReadings(readingsOf(typed, isOutdated(stored)), stored))
      return fits && hash !== null
    },
    isOutdated,
    load: queue.load,
  }
}

async function checkReadings(readings: Iterable<string>, stored: string): Promise<boolean> {
  for (const password of readings) {
    // A stored hash of no known kind fits nothing.
    if (await Bun.password.verify(inputFor(stored, password), stored).catch(() => false)) return true
  }
  return false
}

/** What may have been hashed. Where a hash comes from they took a password as it was typed, in whichever form. */
function readingsOf(typed: string, isOutdated: boolean): Set<string> {
  const password = normalisePassword(typed).toWellFormed()
  return new Set(isOutdated ? [password, typed.toWellFormed()] : [password])
}

function inputFor(hash: string, password: string): string | Uint8Array {
  return hash.startsWith('$2') ? Buffer.from(password).subarray(0, BCRYPT_BYTES) : password
}
