import type { Context } from '../../core/context.ts'
import type { Holder, KeyPrincipal } from '../../core/principal.ts'
import { lackOfScopes, problemOf } from '../../core/verify/problems.ts'
import { useKey } from '../../core/verify/use-key.ts'
import { DEFAULT_COST, tightestOf, type UseOutcome } from '../../core/verify/use-key-here.ts'
import { Problem } from '../../lib/errors.ts'
import { covers } from '../../lib/scopes.ts'
import type { RequestState } from '../request-state.ts'
import type { Policy } from './policy.ts'

/** The part of a question's state that decides, and that the decision changes. */
type Asked = Pick<RequestState, 'address' | 'rate' | 'credential'>

/**
 * Whether a policy allows a caller, in the order of API.md. A use of a key counts against the key's rate and credits, as at
 * `/keys/verify`. The result is a promise only where the rate is counted on Redis or where credits are taken.
 * @param state of the question: it has the client's address (null: unknown, which a key with `allowed_ips` does not accept),
 * and gets what is left of the key's rates, and the key as home knows it
 * @returns null where the caller is allowed, else the first reason why not
 * @throws only where the database cannot be asked
 */
export function decide(
  context: Context,
  principal: Holder,
  policy: Policy,
  state: Asked,
): Problem | null | Promise<Problem | null> {
  if (policy.kind !== 'any' && policy.kind !== principal.kind) return new Problem('wrong_credential_kind')
  if (policy.role !== null) {
    if (principal.kind !== 'user') return new Problem('wrong_credential_kind')
    if (principal.role !== policy.role) return new Problem('forbidden')
  }
  if (principal.kind !== 'key' && principal.isEnrolmentDue) return new Problem('mfa_enrolment_required')
  if (policy.mfa && !hasProvedFactor(principal)) return new Problem('forbidden', ASK_FACTOR)
  if (principal.kind === 'key') return decideOnKey(context, principal, policy, state)
  const missing = policy.scopes.filter((scope) => !covers(principal.grants, scope))
  return missing.length > 0 ? lackOfScopes(missing) : null
}

const ASK_FACTOR = { detail: 'This takes a person who logged in with a second factor.' }

/** A key stands for no person who is there. An app has what the person proved who allowed it. */
const hasProvedFactor = (principal: Holder): boolean =>
  principal.kind !== 'key' && principal.amr.includes('mfa')

function decideOnKey(context: Context, key: KeyPrincipal, { scopes }: Policy, state: Asked) {
  const conclude = (outcome: UseOutcome) => {
    state.rate = tightestOf(outcome)
    if (outcome.code === 'VALID' && outcome.key)
      state.credential = { kind: 'accepted', principal: outcome.key }
    return problemOf(outcome)
  }
  const outcome = useKey(context, key, {
    at: 'forward_auth',
    scopes,
    cost: DEFAULT_COST,
    address: state.address,
  })
  return outcome instanceof Promise ? outcome.then(conclude) : conclude(outcome)
}
