import type { Context } from '../../core/context.ts'
import type { KeyPrincipal, Principal } from '../../core/principal.ts'
import { type Denial, denialOf, deny, lackOfScopes } from '../../core/verify/refusals.ts'
import { DEFAULT_COST, useKey } from '../../core/verify/use-key.ts'
import { covers } from '../../lib/scopes.ts'
import type { Policy } from './policy.ts'

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
  if (principal.kind === 'user' && principal.isEnrolmentDue) return deny('mfa_enrolment_required')
  if (policy.mfa && !hasProvedFactor(principal)) return deny('forbidden', ASK_FACTOR)
  if (principal.kind === 'key') return judgeKey(context, principal, policy, address)
  const missing = policy.scopes.filter((scope) => !covers(principal.grants, scope))
  return missing.length > 0 ? deny('insufficient_scope', lackOfScopes(missing)) : null
}

const ASK_FACTOR = { detail: 'This takes a person who logged in with a second factor.' }

/** A key stands for no person who is there. */
const hasProvedFactor = (principal: Principal): boolean =>
  principal.kind === 'user' && principal.amr.includes('mfa')

function judgeKey(context: Context, key: KeyPrincipal, { scopes }: Policy, address: string | null) {
  const outcome = useKey(context, key, { scopes, cost: DEFAULT_COST, address })
  return outcome instanceof Promise ? outcome.then(denialOf) : denialOf(outcome)
}
