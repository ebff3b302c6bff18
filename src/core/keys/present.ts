import { presentRate } from '../../lib/rate.ts'
import { formatInstant } from '../../lib/time.ts'
import { creditsAt } from '../credits/refills.ts'
import { presentCredits } from '../credits/settings.ts'
import { ownerOfRow } from '../owners.ts'
import type { Key, KeyOwner, KeyStatus } from './model.ts'
import { EXPIRING_WITHIN_MS, UNUSED_AFTER_MS, type WholeKey } from './queries.ts'

export type { WholeKey }

/** A key in the form in which the API answers, without its secrets. A secret is answered once, when it is created. */
export function presentKey(key: WholeKey, nowMs: number): Key {
  const [status, reason] = statusOf(key, nowMs)
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
    last_used_at: formatInstant(lastUseOf(key)),
    rate_limit: presentRate(key),
    credits: key.credits && presentCredits(key.credits, nowMs),
    allowed_ips: key.allowedIps,
    metadata: key.metadata,
    status,
    status_reason: reason,
    secrets: key.secrets.map((secret) => ({
      id: secret.id,
      start: secret.start,
      created_at: secret.createdAt.toISOString(),
      expires_at: formatInstant(secret.expiresAt),
      last_used_at: formatInstant(secret.lastUsedAt),
    })),
  }
}

/** The owner of a key, as people know it. */
export function presentOwner(key: WholeKey): KeyOwner {
  return { ...ownerOfRow(key), label: key.owner.label }
}

/** The first status of API.md that holds, and why; the statuses of a list are decided in the same way (`hasStatus`). */
function statusOf(key: WholeKey, nowMs: number): [KeyStatus, reason: string | null] {
  const { revokedAt, revokedReason, expiresAt, isActive, owner, credits, createdAt } = key
  const dayOf = (at: Date) => at.toISOString().slice(0, 10)
  if (revokedAt) {
    return ['revoked', `It was revoked on ${dayOf(revokedAt)}${revokedReason ? `: ${revokedReason}` : '.'}`]
  }
  if (expiresAt && expiresAt.getTime() <= nowMs) return ['expired', `It expired on ${dayOf(expiresAt)}.`]
  if (!isActive) return ['disabled', 'It is disabled.']
  if (!owner.isActive) return ['owner_disabled', 'Its owner is disabled.']
  const isExhausted = (of: typeof credits) => of !== null && creditsAt(of, nowMs).remaining === 0
  if (isExhausted(credits)) return ['exhausted', 'It has no credits left.']
  if (isExhausted(owner.credits)) return ['exhausted', 'Its owner has no credits left.']
  if (expiresAt && expiresAt.getTime() <= nowMs + EXPIRING_WITHIN_MS)
    return ['expiring', `It expires on ${dayOf(expiresAt)}.`]
  const lastUse = lastUseOf(key)
  if ((lastUse ?? createdAt).getTime() <= nowMs - UNUSED_AFTER_MS)
    return ['unused', lastUse ? `It was last used on ${dayOf(lastUse)}.` : 'It was never used.']
  return ['active', null]
}

/** When a key was last used, by any of its secrets; null: never. */
export const lastUseOf = ({ usedAt, secrets }: WholeKey) =>
  latest([usedAt, ...secrets.map((secret) => secret.lastUsedAt)])

function latest(dates: (Date | null)[]): Date | null {
  return dates.reduce((a, b) => (a === null || (b !== null && b > a) ? b : a), null)
}
