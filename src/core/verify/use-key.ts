import { isInNetworks } from '../../lib/ip.ts'
import { covers } from '../../lib/scopes.ts'
import { SECOND_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { type Charge, chargeUse } from '../credits/charge.ts'
import type { KeyPrincipal } from '../principal.ts'
import type { RateState } from './rates.ts'

/** The credits that a use takes where the request names no cost. */
export const DEFAULT_COST = 1

/**
 * The use for which a key is presented.
 * - `scopes`: the key needs all of them.
 * - `cost`: in credits; null: credits are not counted, as on Latchkey's own routes.
 * - `address`: of the client; null: unknown, which a key with `allowed_ips` refuses.
 */
export type Use = { scopes: readonly string[]; cost: number | null; address: string | null }

/** Whether address, scopes and rate allow a use, or else the first of them that does not. */
type Permission =
  | { code: 'VALID'; rate: RateState | null }
  | { code: 'IP_NOT_ALLOWED' }
  | { code: 'INSUFFICIENT_SCOPE'; missingScopes: string[] }
  | { code: 'RATE_LIMITED'; rate: RateState; retryAfterSeconds: number }

/** What remains after a use; null: there are none to count. */
type RemainingCredits = { remainingCredits: number | null; remainingOwnerCredits: number | null }

/** The result of a use: the first reason for a refusal, in the order of API.md, or what remains of the key's limits. */
export type UseOutcome =
  | ({ code: 'VALID'; rate: RateState | null } & RemainingCredits)
  | Exclude<Permission | Charge, { code: 'VALID' }>

/**
 * Uses a verified key, and counts the use. Address, scopes and rate are checked before anything is charged; credits are
 * charged last. Stays synchronous where the answer already is: one `await` here doubles the cost of a warm request.
 * @returns the outcome, or a promise of it where a rate on Redis or the credits must be waited for
 * @throws only where the database cannot be asked; a refusal is a value
 * @example
 * const outcome = await useKey(context, key, { scopes: ['read'], cost: DEFAULT_COST, address: null })
 * const problem = problemOf(outcome)
 * if (problem) throw problem
 */
export function useKey(context: Context, key: KeyPrincipal, use: Use): UseOutcome | Promise<UseOutcome> {
  const permission = permitUse(context, key, use)
  return permission instanceof Promise
    ? permission.then((permitted) => charge(context, key, use, permitted))
    : charge(context, key, use, permission)
}

/** Why a key may not be used from an address or for scopes; null where it may. Counts nothing. */
export function refusalOf(
  key: KeyPrincipal,
  { address, scopes }: Pick<Use, 'address' | 'scopes'>,
): Refused | null {
  if (key.allowedIps !== null && (address === null || !isInNetworks(address, key.allowedIps))) {
    return { code: 'IP_NOT_ALLOWED' }
  }
  const missingScopes = scopes.filter((scope) => !covers(key.grants, scope))
  return missingScopes.length > 0 ? { code: 'INSUFFICIENT_SCOPE', missingScopes } : null
}

type Refused = Extract<Permission, { code: 'IP_NOT_ALLOWED' | 'INSUFFICIENT_SCOPE' }>

/** The rate is counted only where address and scopes are allowed, so that a refused request does not use it up. */
function permitUse(
  context: Context,
  key: KeyPrincipal,
  { address, scopes }: Use,
): Permission | Promise<Permission> {
  const refusal = refusalOf(key, { address, scopes })
  if (refusal) return refusal
  if (key.rateLimit === null) return { code: 'VALID', rate: null }
  const rate = context.rates.take(key.keyId, key.rateLimit)
  return rate instanceof Promise
    ? rate.then((state) => permitRate(context, state))
    : permitRate(context, rate)
}

type RatePermission = Extract<Permission, { code: 'VALID' | 'RATE_LIMITED' }>

/** Whether a rate allows a use. */
export function permitRate({ clock }: Pick<Context, 'clock'>, rate: RateState): RatePermission {
  if (!rate.isExceeded) return { code: 'VALID', rate }
  const retryAfterSeconds = Math.max(1, Math.ceil((rate.resetAtMs - clock()) / SECOND_MS))
  return { code: 'RATE_LIMITED', rate, retryAfterSeconds }
}

function charge(context: Context, key: KeyPrincipal, { cost, address }: Use, permission: Permission) {
  if (permission.code !== 'VALID') return count(context, key, address, permission)
  const { rate } = permission
  if (cost === null || !(key.hasCredits || key.hasOwnerCredits))
    return count(context, key, address, { code: 'VALID', rate, ...NOTHING_TO_COUNT })
  return chargeUse(context, key, cost).then((charged) =>
    count(context, key, address, permitCharge(charged, rate)),
  )
}

const NOTHING_TO_COUNT: RemainingCredits = { remainingCredits: null, remainingOwnerCredits: null }

/** The result of a use whose rate allows it. */
export function permitCharge(charged: Charge, rate: RateState | null): UseOutcome {
  if (charged.code !== 'VALID') return charged
  const { remaining, ownerRemaining } = charged
  return { code: 'VALID', rate, remainingCredits: remaining, remainingOwnerCredits: ownerRemaining }
}

function count(context: Context, key: KeyPrincipal, address: string | null, outcome: UseOutcome): UseOutcome {
  if (outcome.code === 'VALID') context.usage.use(key)
  else context.usage.refuse(key.keyId, outcome.code, address)
  return outcome
}
