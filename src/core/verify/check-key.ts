import { fail } from '../../lib/errors.ts'
import { CHECKS } from '../../lib/outcomes.ts'
import type { Context } from '../context.ts'
import { previewCharge } from '../credits/charge.ts'
import type { KeyCheck, KeyCheckResult } from './model.ts'
import { findNewestSecret } from './queries.ts'
import { permitCharge, permitRates, refusalOf } from './use-key-here.ts'
import { decideSecret, type SecretFacts } from './verify-credential.ts'
import { presentOutcome, readPurpose } from './verify-key.ts'

/**
 * Why a key is refused, or that it is not: what verify would answer now for its newest secret, and each check decided by
 * itself. Counts, charges and moves nothing.
 * @throws Problem not_found, validation_failed for scopes that cannot be read
 */
export async function checkKey(context: Context, keyId: string, question: KeyCheck): Promise<KeyCheckResult> {
  const { scopes, cost, ip } = readPurpose(question ?? {}, '')
  const facts = (await findNewestSecret(context.db, keyId)) ?? fail('not_found')
  const key = decideAlive(context, facts)
  const { owner, rates } = key
  const rate = rates && permitRates(context, await context.rates.preview({ owner, rates }))
  const charge = await previewCharge(context, keyId, owner.id, cost)
  const allowed = permitCharge(charge, rate?.code === 'VALID' ? rate.rates : null)
  const state = stateOf(context, facts)
  const outcome = refusalOf(key, { address: ip, scopes }) ?? (rate && rate.code !== 'VALID' ? rate : allowed)

  const failed = new Set<string>([
    ...state,
    ...(refusalOf(key, { address: ip, scopes: [] }) ? ['IP_NOT_ALLOWED'] : []),
    ...(scopes.some((scope) => !key.scopes.includes(scope)) ? ['INSUFFICIENT_SCOPE'] : []),
    ...(rate && rate.code !== 'VALID' ? [rate.code] : []),
    ...(charge.code === 'VALID' ? [] : [charge.code]),
  ])
  const [first] = state
  const answer = first ? { valid: false, code: first, key_id: keyId } : presentOutcome(key, outcome)
  return { ...answer, checks: CHECKS.map((code) => ({ code, passed: !failed.has(code) })) }
}

/** The checks of its state that a key fails, each by itself. */
function stateOf(
  { clock }: Pick<Context, 'clock'>,
  { key, user, serviceAccount, secretExpiresAt }: SecretFacts,
) {
  const isOver = (end: Date | null) => end !== null && end.getTime() <= clock()
  return [
    ...(key.revokedAt ? ['REVOKED'] : []),
    ...(isOver(key.expiresAt) || isOver(secretExpiresAt) ? ['EXPIRED'] : []),
    ...(key.isActive ? [] : ['DISABLED']),
    ...((user ?? serviceAccount)?.isActive ? [] : ['OWNER_DISABLED']),
  ]
}

/** The key as it would be were it alive: the further checks do not depend on that. */
function decideAlive(context: Context, facts: SecretFacts) {
  const { key, user, serviceAccount } = facts
  const isAlive = 'principal' in decideSecret(context, null, facts)
  const alive: SecretFacts = isAlive
    ? facts
    : {
        ...facts,
        secretExpiresAt: null,
        key: { ...key, revokedAt: null, expiresAt: null, isActive: true },
        user: user && { ...user, isActive: true },
        serviceAccount: serviceAccount && { ...serviceAccount, isActive: true },
      }
  const decided = decideSecret(context, null, alive)
  if (!('principal' in decided) || decided.principal.kind !== 'key') fail('not_found')
  return decided.principal
}
