import { fail } from '../../lib/errors.ts'
import type { RootRateColumns } from '../../lib/rate.ts'
import { covers, SERVICE_ACCOUNTS_WRITE } from '../../lib/scopes.ts'
import { isSameOwner, type Owner, ownerOf, ownerOfRow } from '../owners.ts'
import type { KeyPrincipal, RateRoot } from '../principal.ts'
import type { WholeKey } from './queries.ts'
import type { KeyManager } from './reach.ts'

/** The root of the keys that a key makes for its own owner: the topmost key with a rate in its chain of makers; null: none. */
function rootOf({ keyId, rateLimit, rateRoot }: KeyPrincipal): RateRoot | null {
  if (rateLimit !== null && !rateRoot?.rate) return { keyId, rate: rateLimit }
  return rateRoot
}

/**
 * The columns of a new key that say whose rate it shares (docs/decisions/0051). A key for another owner begins a chain of its
 * own, and what a person makes has no maker that is limited.
 */
export function rootColumns(caller: KeyManager, owner: Owner): RootRateColumns {
  const root = caller.kind === 'key' && isSameOwner(ownerOf(caller), owner) ? rootOf(caller) : null
  return {
    rateRoot: root?.keyId ?? null,
    rootRateLimit: root?.rate?.limit ?? null,
    rootRateWindowSeconds: root?.rate?.windowSeconds ?? null,
  }
}

/**
 * Checks that a key does not evade its own limits by the keys that it makes, rotates and widens. A key with credits does
 * none of this. A key with a rate, of its own or of its root, does so with keys that count in the same counter; and with
 * those of the accounts that its owner manages, if it may manage these.
 * @param before null: the key is new
 * @throws Problem forbidden
 */
export function requireLimitsKept(caller: KeyManager, before: WholeKey | null, owner: Owner): void {
  if (caller.kind !== 'key') return
  if (caller.hasCredits)
    fail('forbidden', { detail: 'A key with credits makes, rotates and widens no keys.' })
  const root = rootOf(caller)
  if (!root?.rate) return
  if (!isSameOwner(ownerOf(caller), owner)) {
    if (covers(caller.grants, SERVICE_ACCOUNTS_WRITE)) return
    fail('forbidden', {
      detail: `A key with a rate limit needs ${SERVICE_ACCOUNTS_WRITE} to make, rotate and widen keys of a managed account.`,
    })
  }
  if (before === null || [before.id, before.rateRoot].includes(root.keyId)) return
  fail('forbidden', { detail: 'A key with a rate limit rotates and widens only keys that share its limit.' })
}

/**
 * Checks that a key does not evade its own limits by the portal sessions that it makes. What a customer makes there has no
 * maker that is limited, so it would not share the rate of a key of the same owner.
 * @throws Problem forbidden
 */
export function requireLimitsKeptInPortal(caller: KeyManager, owner: Owner): void {
  requireLimitsKept(caller, null, owner)
  if (caller.kind === 'key' && isSameOwner(ownerOf(caller), owner) && rootOf(caller)?.rate)
    fail('forbidden', {
      detail: 'A key with a rate limit makes no portal session in which its own owner makes or rotates keys.',
    })
}

/** The owner of a key, or of one that is about to be made. */
export function ownerFor(
  caller: KeyManager,
  before: WholeKey | null,
  accountId: string | null,
): Owner | null {
  if (before) return ownerOfRow(before)
  if (accountId !== null) return { type: 'service_account', id: accountId }
  return caller.kind === 'operator' ? caller.owner : ownerOf(caller)
}
