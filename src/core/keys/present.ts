import { formatInstant } from '../../lib/time.ts'
import { remainingAt } from '../verify/credits.ts'
import { rateOf } from '../verify/rates.ts'
import type { Credits, Key } from './model.ts'
import type { CreditsRow, WholeKey } from './queries.ts'

export type { WholeKey }

/** A key in the form in which the API answers, without its secrets. A secret is answered once, when it is created. */
export function presentKey(key: WholeKey, nowMs: number): Key {
  const rate = rateOf(key)
  return {
    id: key.id,
    name: key.name,
    description: key.description,
    external_id: key.externalId,
    user_id: key.userId,
    service_account_id: key.serviceAccountId,
    is_active: key.isActive && key.revokedAt === null,
    scopes: key.scopes,
    start: key.secrets.at(-1)?.start ?? '',
    created_at: key.createdAt.toISOString(),
    created_by: key.createdBy,
    expires_at: formatInstant(key.expiresAt),
    revoked_at: formatInstant(key.revokedAt),
    revoked_reason: key.revokedReason,
    last_used_at: formatInstant(latest([key.lastUsedAt, ...key.secrets.map((secret) => secret.lastUsedAt)])),
    rate_limit: rate && { limit: rate.limit, window_seconds: rate.windowSeconds },
    credits: key.credits && presentCredits(key.credits, nowMs),
    allowed_ips: key.allowedIps,
    metadata: key.metadata,
    secrets: key.secrets.map((secret) => ({
      id: secret.id,
      start: secret.start,
      created_at: secret.createdAt.toISOString(),
      expires_at: formatInstant(secret.expiresAt),
      last_used_at: formatInstant(secret.lastUsedAt),
    })),
  }
}

/** Credits in the form in which a request gives them. */
export function presentCredits(credits: CreditsRow, nowMs: number): Credits {
  return { remaining: remainingAt(credits, nowMs), refill: presentRefill(credits) }
}

/** The refill of credits; null: they are not refilled. */
export function presentRefill({
  refillAmount,
  refillInterval,
}: CreditsRow): NonNullable<Credits['refill']> | null {
  if (refillAmount === null || refillInterval === null) return null
  return { amount: refillAmount, interval: refillInterval }
}

function latest(dates: (Date | null)[]): Date | null {
  return dates.reduce((a, b) => (a === null || (b !== null && b > a) ? b : a), null)
}
