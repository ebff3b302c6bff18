import type { Context } from '../core/context.ts'
import type { KeyPrincipal, Principal } from '../core/principal.ts'
import { denialOf, lackOfScopes } from '../core/verify/refusals.ts'
import { type UseOutcome, useKey } from '../core/verify/use-key.ts'
import { type ErrorCode, fail } from '../lib/errors.ts'
import { covers } from '../lib/scopes.ts'
import type { RequestState } from './request-state.ts'

/** What a route needs of whoever asks. */
export type Requirement = {
  allows(principal: Principal): boolean
  /** What somebody of another kind is told. */
  refusal(principal: Principal): ErrorCode
  userScopes: readonly string[]
  keyScopes: readonly string[]
}

/**
 * Whether a good credential may go on here: its kind, then, for keys, address, scopes and rate, in the order of API.md.
 * Only a rate that is counted on Redis waits for anything. `errors.ts` counts and audits a refusal.
 * @throws Problem wrong_credential_kind, forbidden, ip_not_allowed, insufficient_scope, rate_limited
 */
export function permit(
  context: Context,
  state: RequestState,
  principal: Principal,
  need: Requirement,
): Promise<undefined> | undefined {
  if (!need.allows(principal)) fail(need.refusal(principal))
  if (principal.kind === 'key') return permitKey(context, state, principal, need.keyScopes)
  if (need.userScopes.length === 0) return
  const missing = need.userScopes.filter((scope) => !covers(principal.grants, scope))
  if (missing.length > 0) fail('insufficient_scope', lackOfScopes(missing))
}

function permitKey(
  context: Context,
  state: RequestState,
  key: KeyPrincipal,
  scopes: readonly string[],
): Promise<undefined> | undefined {
  const outcome = useKey(context, key, { scopes, cost: null, address: state.address })
  return outcome instanceof Promise ? outcome.then(requireValid) : requireValid(outcome)
}

function requireValid(outcome: UseOutcome): undefined {
  const denial = denialOf(outcome)
  if (denial) fail(denial.code, denial.extra)
}
