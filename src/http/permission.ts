import type { Context } from '../context.ts'
import { type Admission, admitKey } from '../features/verify/admit.ts'
import type { KeyPrincipal, Principal } from '../features/verify/principal.ts'
import { excessOfRate, lackOfScopes } from '../features/verify/refusals.ts'
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
 * Only a rate that is counted on Redis waits for anything.
 * @throws Problem wrong_credential_kind, forbidden, ip_not_allowed, insufficient_scope, rate_limited
 */
export function permit(
  context: Context,
  state: RequestState,
  principal: Principal,
  need: Requirement,
): Promise<undefined> | undefined {
  if (!need.allows(principal)) deny(need.refusal(principal))
  if (principal.kind === 'key') return permitKey(context, state, principal, need.keyScopes)
  if (need.userScopes.length === 0) return
  const missing = need.userScopes.filter((scope) => !covers(principal.grants, scope))
  if (missing.length > 0) deny('insufficient_scope', missing)
}

function permitKey(
  context: Context,
  state: RequestState,
  key: KeyPrincipal,
  scopes: readonly string[],
): Promise<undefined> | undefined {
  const admission = admitKey(context, key, state.address, scopes)
  if (admission instanceof Promise) {
    return admission.then((admitted) => settleKey(context, key, admitted))
  }
  return settleKey(context, key, admission)
}

function settleKey(context: Context, key: KeyPrincipal, admission: Admission): undefined {
  if (admission.code === 'VALID') {
    context.usage.count(key.keyId, 'VALID', key.secretId)
    return
  }
  context.usage.count(key.keyId, admission.code)
  if (admission.code === 'INSUFFICIENT_SCOPE') {
    deny('insufficient_scope', admission.missingScopes)
  }
  if (admission.code === 'IP_NOT_ALLOWED') fail('ip_not_allowed')
  fail('rate_limited', excessOfRate(admission))
}

/** A refusal by kind, role or scope, which `errors.ts` counts and audits. */
function deny(code: ErrorCode, missing: readonly string[] = []): never {
  if (code !== 'insufficient_scope') fail(code)
  fail(code, { ...lackOfScopes(missing), audit: { missing_scopes: missing } })
}
