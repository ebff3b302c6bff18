import type { Context } from '../context.ts'
import type { KeyPrincipal } from '../principal.ts'
import { type Admission, admitKey } from './admit.ts'
import { type Charge, chargeKey } from './credits.ts'
import type { RateState } from './rates.ts'

/**
 * What somebody wants to use a key for. `cost`: in credits; null: none are asked about, as on Latchkey's own routes.
 * `address`: the client's, as whoever asks knows it; null: unknown.
 */
export type Use = { scopes: readonly string[]; cost: number | null; address: string | null }

/** What came of it: the first reason why not, in the order of API.md, or what is left of its limits. */
export type UseOutcome =
  | { code: 'VALID'; rate: RateState | null; remainingCredits: number | null }
  | Exclude<Admission, { code: 'VALID' }>
  | Exclude<Charge, { code: 'VALID' }>

/**
 * Uses a good key, which counts: nothing is charged unless all before passed, and credits last. Only a rate on Redis, and
 * credits, are waited for: whatever need not wait makes no promise.
 * @throws only where the database cannot be asked
 */
export function useKey(context: Context, key: KeyPrincipal, use: Use): UseOutcome | Promise<UseOutcome> {
  const admission = admitKey(context, key, use.address, use.scopes)
  return admission instanceof Promise
    ? admission.then((admitted) => charge(context, key, use, admitted))
    : charge(context, key, use, admission)
}

function charge(context: Context, key: KeyPrincipal, { cost }: Use, admission: Admission) {
  if (admission.code !== 'VALID') return count(context, key, admission)
  const { rate } = admission
  if (!key.hasCredits || cost === null)
    return count(context, key, { code: 'VALID', rate, remainingCredits: null })
  return chargeKey(context, key.keyId, cost).then((charged) =>
    charged.code === 'VALID'
      ? count(context, key, { code: 'VALID', rate, remainingCredits: charged.remaining })
      : count(context, key, charged),
  )
}

function count(context: Context, key: KeyPrincipal, outcome: UseOutcome): UseOutcome {
  if (outcome.code === 'VALID') context.usage.count(key.keyId, 'VALID', key.secretId)
  else context.usage.count(key.keyId, outcome.code)
  return outcome
}
