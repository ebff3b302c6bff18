import { isInNetworks } from '../../lib/ip.ts'
import { covers } from '../../lib/scopes.ts'
import { SECOND_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import type { KeyPrincipal } from '../principal.ts'
import type { RateState } from './rates.ts'

/** Whether a good key may be used here and now, or the first reason why not, in the order of API.md. */
export type Admission =
  | { code: 'VALID'; rate: RateState | null }
  | { code: 'IP_NOT_ALLOWED' }
  | { code: 'INSUFFICIENT_SCOPE'; missingScopes: string[] }
  | { code: 'RATE_LIMITED'; rate: RateState; retryAfterSeconds: number }

/**
 * Address, scopes, rate. The rate is taken from only where all before it passed; credits come after, where they count.
 * @param address the client's, as whoever asks knows it; null: unknown, which a key with `allowed_ips` does not accept
 * @param scopes all are needed
 */
export function admitKey(
  context: Pick<Context, 'rates' | 'clock'>,
  key: KeyPrincipal,
  address: string | null,
  scopes: readonly string[],
): Admission | Promise<Admission> {
  if (key.allowedIps !== null && (address === null || !isInNetworks(address, key.allowedIps))) {
    return { code: 'IP_NOT_ALLOWED' }
  }
  const missingScopes = scopes.filter((scope) => !covers(key.grants, scope))
  if (missingScopes.length > 0) return { code: 'INSUFFICIENT_SCOPE', missingScopes }
  if (key.rateLimit === null) return { code: 'VALID', rate: null }
  const rate = context.rates.take(key.keyId, key.rateLimit)
  return rate instanceof Promise ? rate.then((state) => judgeRate(context, state)) : judgeRate(context, rate)
}

function judgeRate({ clock }: Pick<Context, 'clock'>, rate: RateState): Admission {
  if (!rate.isExceeded) return { code: 'VALID', rate }
  const retryAfterSeconds = Math.max(1, Math.ceil((rate.resetAtMs - clock()) / SECOND_MS))
  return { code: 'RATE_LIMITED', rate, retryAfterSeconds }
}
