import { fail } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import { SECOND_MS } from '../../lib/time.ts'
import { hashToken, makeApiKey, startOf } from '../../lib/tokens.ts'
import { type Origin, recordChange } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { requireGrants } from '../verify/refusals.ts'
import { requireOwnership } from './change.ts'
import {
  deleteSecret,
  insertSecret,
  lockKey,
  type SecretRow,
  updateSecretExpiry,
  type WholeKey,
} from './queries.ts'
import { type KeyManager, requireManagedKey, requireNoCredits } from './reach.ts'

/**
 * Gives a key a new secret; its id, and everything else of it, stays. The old secret works until the overlap ends.
 * @param overlapSeconds 0 ends the old secret at once
 * @returns the key's row, and the new secret, which nobody can read again
 * @throws Problem not_found, forbidden, insufficient_scope, conflict while an overlap runs, or where the key is over
 */
export async function rotateKey(
  context: Context,
  origin: Origin,
  caller: KeyManager,
  id: string,
  overlapSeconds: number,
): Promise<{ row: WholeKey; key: string }> {
  await requireManagedKey(context, caller, id)
  requireNoCredits(caller)
  const secret = makeApiKey(context.config.apiKeyPrefix)
  const row = await recordChange(context, origin, async (tx, record) => {
    const nowMs = context.clock()
    const key = await lockKey(tx, id)
    if (!key) fail('not_found')
    requireOwnership(caller, key)
    requireGrants(caller, key.scopes)
    if (key.revokedAt !== null || (key.expiresAt && key.expiresAt.getTime() <= nowMs)) {
      fail('conflict', { detail: 'The key is revoked or expired.' })
    }
    const live = liveSecrets(key, nowMs)
    if (live.length > 1) fail('conflict', { detail: 'A rotation is under way: two secrets are live.' })
    const ids = live.map((old) => old.id)
    if (overlapSeconds === 0) for (const old of ids) await deleteSecret(tx, old)
    else await updateSecretExpiry(tx, ids, new Date(nowMs + overlapSeconds * SECOND_MS))
    const createdAt = new Date(nowMs)
    await insertSecret(tx, {
      id: newId(),
      keyId: id,
      hash: hashToken(secret),
      start: startOf(secret),
      createdAt,
    })
    await record({
      action: 'key.rotated',
      target: { type: 'key', id },
      details: { overlap_seconds: overlapSeconds, start: startOf(secret) },
    })
    return (await lockKey(tx, id)) ?? fail('not_found')
  })
  return { row, key: secret }
}

/**
 * Ends one of two live secrets early: the old one, or the new one, which cancels the rotation.
 * @param start the first characters of the secret, as shown
 * @throws Problem not_found, conflict where it is the only one (revoke the key instead)
 */
export async function endSecret(
  context: Context,
  origin: Origin,
  caller: KeyManager,
  id: string,
  start: string,
): Promise<void> {
  await requireManagedKey(context, caller, id)
  await recordChange(context, origin, async (tx, record) => {
    const key = await lockKey(tx, id)
    const live = key ? liveSecrets(key, context.clock()) : []
    const secret = live.find((candidate) => candidate.start === start)
    if (!secret) fail('not_found')
    if (live.length === 1) fail('conflict', { detail: 'This is the only secret: revoke the key instead.' })
    await deleteSecret(tx, secret.id)
    const rest = live.filter((other) => other.id !== secret.id)
    await updateSecretExpiry(
      tx,
      rest.map((other) => other.id),
      null,
    )
    await record({ action: 'key.secret_ended', target: { type: 'key', id }, details: { start } })
  })
}

/** The secrets that work now, oldest first. */
export function liveSecrets(key: WholeKey, nowMs: number): SecretRow[] {
  return key.secrets.filter((secret) => secret.expiresAt === null || secret.expiresAt.getTime() > nowMs)
}
