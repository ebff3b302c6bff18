import { isInNetworks } from '../../lib/ip.ts'
import { covers } from '../../lib/scopes.ts'
import { SECOND_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { type Charge, chargeUse } from '../credits/charge.ts'
import type { KeyPrincipal, Refusal } from '../principal.ts'
import type { EntryPoint } from '../verifier/model.ts'
import { type RateState, tighterOf } from './rates.ts'

/** The credits that a use takes where the request names no cost. */
export const DEFAULT_COST = 1

/**
 * The use for which a key is presented.
 * - `at`: where it is presented.
 * - `scopes`: the key needs all of them.
 * - `cost`: in credits; null: credits are not counted, as on Latchkey's own routes.
 * - `address`: of the client; null: unknown, which a key with `allowed_ips` refuses.
 */
export type Use = {
  at: EntryPoint
  scopes: readonly string[]
  cost: number | null
  address: string | null
}

/** Whose limit refused a use: the key's, or that of its owner. */
export type LimitedBy = 'key' | 'owner'

/** Whether address, scopes and rates allow a use, or else the first of them that does not. */
type Permission =
  | { code: 'VALID'; rates: readonly RateState[] | null }
  | { code: 'IP_NOT_ALLOWED' }
  | { code: 'INSUFFICIENT_SCOPE'; missingScopes: string[] }
  | { code: 'RATE_LIMITED'; limitedBy: LimitedBy; limit: number; retryAfterSeconds: number }

/** What remains after a use; null: there are none to count; undefined: home alone knows. */
type RemainingCredits = {
  remainingCredits: number | null | undefined
  remainingOwnerCredits: number | null | undefined
}

/**
 * The result of a use: the first reason for a refusal, in the order of API.md, or what remains of the key's limits. Only home
 * can answer a verifier that a key has ended meanwhile, or how the key is now (`key`).
 */
export type UseOutcome =
  | ({ code: 'VALID'; rates: readonly RateState[] | null; key?: KeyPrincipal } & RemainingCredits)
  | Exclude<Permission | Charge, { code: 'VALID' }>
  | { code: Refusal['code'] }

/** An outcome that was decided here, of a key that is good. */
type OutcomeHere = Exclude<UseOutcome, { code: Refusal['code'] }>

/** Uses a verified key where its limits are counted here (`use-key.ts`). */
export function useKeyHere(context: Context, key: KeyPrincipal, use: Use): UseOutcome | Promise<UseOutcome> {
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

/** The rates are counted only where address and scopes are allowed, so that a refused request does not use them up. */
function permitUse(
  context: Context,
  key: KeyPrincipal,
  { address, scopes }: Use,
): Permission | Promise<Permission> {
  const refusal = refusalOf(key, { address, scopes })
  if (refusal) return refusal
  const { owner, rates } = key
  if (rates === null) return { code: 'VALID', rates: null }
  const taken = context.rates.take({ owner, rates })
  return taken instanceof Promise
    ? taken.then((states) => permitRates(context, states))
    : permitRates(context, taken)
}

type RatePermission = Extract<Permission, { code: 'VALID' | 'RATE_LIMITED' }>

/** Whether all rates of a key allow a use. To wait is until the last of those that refused it. */
export function permitRates({ clock }: Pick<Context, 'clock'>, rates: readonly RateState[]): RatePermission {
  const first = rates.find((rate) => rate.isExceeded)
  if (first === undefined) return { code: 'VALID', rates }
  const { limit, resetAtMs } = rates.filter((rate) => rate.isExceeded).reduce(tighterOf)
  const retryAfterSeconds = Math.max(1, Math.ceil((resetAtMs - clock()) / SECOND_MS))
  return { code: 'RATE_LIMITED', limitedBy: first.of === 'owner' ? 'owner' : 'key', limit, retryAfterSeconds }
}

/** What is left of the tightest rate of a key after a use; null: it has none, or the use was refused. */
export function tightestOf(outcome: UseOutcome): RateState | null {
  return outcome.code === 'VALID' && outcome.rates ? outcome.rates.reduce(tighterOf) : null
}

function charge(context: Context, key: KeyPrincipal, { cost, address }: Use, permission: Permission) {
  if (permission.code !== 'VALID') return count(context, key, address, permission)
  const { rates } = permission
  if (context.region !== null)
    return count(context, key, address, { code: 'VALID', rates, ...unknownCredits(key) })
  if (cost === null || !(key.hasCredits || key.hasOwnerCredits))
    return count(context, key, address, { code: 'VALID', rates, ...NOTHING_TO_COUNT })
  return chargeUse(context, key, cost).then((charged) =>
    count(context, key, address, permitCharge(charged, rates)),
  )
}

/** A region has no credits. What is charged is asked at home, and this use is not. */
const unknownCredits = ({ hasCredits, hasOwnerCredits }: KeyPrincipal): RemainingCredits => ({
  remainingCredits: hasCredits ? undefined : null,
  remainingOwnerCredits: hasOwnerCredits ? undefined : null,
})

const NOTHING_TO_COUNT: RemainingCredits = { remainingCredits: null, remainingOwnerCredits: null }

/** The result of a use whose rates allow it. */
export function permitCharge(charged: Charge, rates: readonly RateState[] | null): OutcomeHere {
  if (charged.code !== 'VALID') return charged
  const { remaining, ownerRemaining } = charged
  return { code: 'VALID', rates, remainingCredits: remaining, remainingOwnerCredits: ownerRemaining }
}

function count(
  context: Context,
  key: KeyPrincipal,
  address: string | null,
  outcome: OutcomeHere,
): UseOutcome {
  if (outcome.code === 'VALID') context.usage.use(key)
  else context.usage.refuse(key.keyId, outcome.code, address)
  return outcome
}
