import type { Context } from '../context.ts'
import { type Admission, admitKey } from '../features/verify/admit.ts'
import type { KeyPrincipal, Principal } from '../features/verify/principal.ts'
import { type ErrorCode, fail } from '../lib/errors.ts'
import { covers } from '../lib/scopes.ts'
import type { Limits } from './rate-limit.ts'
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
 * Only a refusal, and a rate that is counted on Redis, waits for anything.
 * @throws Problem wrong_credential_kind, forbidden, ip_not_allowed, insufficient_scope, rate_limited
 */
export function permit(
  context: Context,
  limits: Limits,
  state: RequestState,
  principal: Principal,
  need: Requirement,
): Promise<undefined> | undefined {
  if (!need.allows(principal)) return deny(limits, state, [], need.refusal(principal))
  if (principal.kind === 'key') return permitKey(context, limits, state, principal, need.keyScopes)
  if (need.userScopes.length === 0) return
  const missing = need.userScopes.filter((scope) => !covers(principal.grants, scope))
  if (missing.length > 0) return deny(limits, state, missing, 'insufficient_scope')
}

function permitKey(
  context: Context,
  limits: Limits,
  state: RequestState,
  key: KeyPrincipal,
  scopes: readonly string[],
): Promise<undefined> | undefined {
  const admission = admitKey(context, key, state.address, scopes)
  if (admission instanceof Promise) {
    return admission.then((admitted) => settleKey(context, limits, state, key, admitted))
  }
  return settleKey(context, limits, state, key, admission)
}

function settleKey(
  context: Context,
  limits: Limits,
  state: RequestState,
  key: KeyPrincipal,
  admission: Admission,
): Promise<never> | undefined {
  if (admission.code === 'VALID') {
    context.usage.count(key.keyId, 'VALID', key.secretId)
    return
  }
  context.usage.count(key.keyId, admission.code)
  if (admission.code === 'INSUFFICIENT_SCOPE') {
    return deny(limits, state, admission.missingScopes, 'insufficient_scope')
  }
  if (admission.code === 'IP_NOT_ALLOWED') return fail('ip_not_allowed')
  const { rate, retryAfterSeconds } = admission
  const seconds = String(retryAfterSeconds)
  return fail('rate_limited', {
    detail: 'This key has been used as often as it may be; wait before the next time.',
    headers: {
      'RateLimit-Limit': String(rate.limit),
      'RateLimit-Remaining': '0',
      'RateLimit-Reset': seconds,
      'Retry-After': seconds,
    },
  })
}

/** A refusal by kind, role or scope, which `errors.ts` audits; beyond the limit of the address there is no row. */
async function deny(
  limits: Limits,
  state: RequestState,
  missing: readonly string[],
  code: ErrorCode,
): Promise<never> {
  await limits.consume('other', state)
  if (code !== 'insufficient_scope') return fail(code)
  const scope = missing.join(' ')
  return fail(code, {
    detail: `Missing required scope: ${scope}`,
    headers: { 'WWW-Authenticate': `Bearer realm="latchkey", error="insufficient_scope", scope="${scope}"` },
    audit: { missing_scopes: missing },
  })
}
