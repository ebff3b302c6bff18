import type { Context } from '../../context.ts'
import type { ErrorCode, Extra } from '../../lib/errors.ts'
import { covers } from '../../lib/scopes.ts'
import { type Admission, admitKey } from '../verify/admit.ts'
import { type Charge, chargeKey } from '../verify/credits.ts'
import type { KeyPrincipal, Principal } from '../verify/principal.ts'
import { excessOfRate, lackOfScopes } from '../verify/refusals.ts'
import type { Policy } from './policy.ts'

/** Why somebody whose credential is good may not go on. */
export type Denial = { code: ErrorCode; extra: Extra }

const COST = 1

/**
 * Whether a policy lets somebody go on, or the first reason why not, in the order of API.md. A use of a key counts
 * against its rate and its credits, as at `/keys/verify`. Only a rate on Redis, and credits, are waited for.
 * @param address the client's; null: unknown
 * @returns null where they may
 * @throws only where the database cannot be asked
 */
export function judge(
  context: Context,
  principal: Principal,
  policy: Policy,
  address: string | null,
): Denial | null | Promise<Denial | null> {
  if (policy.kind !== 'any' && policy.kind !== principal.kind) return deny('wrong_credential_kind')
  if (policy.role !== null) {
    if (principal.kind !== 'user') return deny('wrong_credential_kind')
    if (principal.role !== policy.role) return deny('forbidden')
  }
  if (principal.kind === 'key') return judgeKey(context, principal, policy, address)
  const missing = policy.scopes.filter((scope) => !covers(principal.grants, scope))
  return missing.length > 0 ? deny('insufficient_scope', lackOfScopes(missing)) : null
}

function judgeKey(context: Context, key: KeyPrincipal, { scopes }: Policy, address: string | null) {
  const admission = admitKey(context, key, address, scopes)
  return admission instanceof Promise
    ? admission.then((admitted) => settle(context, key, admitted))
    : settle(context, key, admission)
}

function settle(context: Context, key: KeyPrincipal, admission: Admission) {
  if (admission.code !== 'VALID') {
    context.usage.count(key.keyId, admission.code)
    return denialOf(admission)
  }
  return key.hasCredits
    ? chargeKey(context, key.keyId, COST).then((charge) => settleCharge(context, key, charge))
    : countUse(context, key)
}

function denialOf(admission: Exclude<Admission, { code: 'VALID' }>): Denial {
  if (admission.code === 'IP_NOT_ALLOWED') return deny('ip_not_allowed')
  if (admission.code === 'INSUFFICIENT_SCOPE')
    return deny('insufficient_scope', lackOfScopes(admission.missingScopes))
  return deny('rate_limited', excessOfRate(admission))
}

function settleCharge(context: Context, key: KeyPrincipal, charge: Charge): Denial | null {
  if (charge.code === 'VALID') return countUse(context, key)
  context.usage.count(key.keyId, charge.code)
  // Without a refill that would do, no time is the right one to come back.
  const { retryAfterSeconds: seconds } = charge
  return deny('credits_exhausted', seconds === null ? {} : { headers: { 'Retry-After': String(seconds) } })
}

function countUse(context: Context, key: KeyPrincipal): null {
  context.usage.count(key.keyId, 'VALID', key.secretId)
  return null
}

const deny = (code: ErrorCode, extra: Extra = {}): Denial => ({ code, extra })
