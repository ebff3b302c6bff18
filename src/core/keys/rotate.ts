import { fail } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import { SECOND_MS } from '../../lib/time.ts'
import { hashToken, makeApiKey, startOf } from '../../lib/tokens.ts'
import type { Origin } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { changeManagedKey } from './change-managed.ts'
import { requireKeyPower } from './power.ts'
import {
  endSecrets,
  findKey,
  insertSecret,
  type SecretRow,
  updateSecretExpiry,
  type WholeKey,
} from './queries.ts'
import type { KeyManager } from './reach.ts'

/** A rotation ends secrets, so their rows are locked too. */
const WITH_SECRETS = { key: 'no key update', secrets: 'no key update' } as const

/**
 * Gives a key a new secret. Its id and all settings stay. The old secret works until the overlap ends.
 * @param overlapSeconds 0 ends the old secret at once
 * @returns the key's row, and the new secret, which cannot be read again
 * @throws Problem not_found, forbidden, insufficient_scope, conflict while an overlap runs, or where the key is revoked
 * or expired
 */
export async function rotateKey(
  context: Context,
  origin: Origin,
  caller: KeyManager,
  id: string,
  overlapSeconds: number,
): Promise<{ row: WholeKey; key: string }> {
  const secret = makeApiKey(context.config.apiKeyPrefix)
  const start = startOf(secret, context.config.apiKeyPrefix)
  const secretId = newId()
  const row = await changeManagedKey(context, origin, caller, id, WITH_SECRETS, async (change) => {
    const { tx, now, key, account, record } = change
    const live = liveSecrets(key, now.getTime())
    const overlapEnds = new Date(now.getTime() + overlapSeconds * SECOND_MS)
    const rotated = [
      ...(overlapSeconds === 0 ? [] : live.map((old) => ({ ...old, expiresAt: overlapEnds }))),
      { id: secretId, expiresAt: null },
    ]
    requireKeyPower(change.caller, key, { ...key, secrets: rotated }, account)
    if (key.revokedAt !== null || (key.expiresAt && key.expiresAt <= now)) {
      fail('conflict', { detail: 'The key is revoked or expired.' })
    }
    if (live.length > 1) fail('conflict', { detail: 'A rotation is under way: two secrets are live.' })
    const ids = live.map((old) => old.id)
    if (overlapSeconds === 0) await endSecrets(tx, ids, now)
    else await updateSecretExpiry(tx, ids, overlapEnds)
    await insertSecret(tx, { id: secretId, keyId: id, hash: hashToken(secret), start, createdAt: now })
    const details = { overlap_seconds: overlapSeconds, start }
    await record({ action: 'key.rotated', target: { type: 'key', id }, details })
    return (await findKey(tx, id)) ?? fail('not_found')
  })
  return { row, key: secret }
}

/**
 * Ends one of two live secrets early. Ending the new one cancels the rotation: the old secret then has no expiry again.
 * That gives the key more, so it needs a caller who could grant all that the key holds.
 * @param name the secret's id, or its first characters as the API answers them
 * @throws Problem not_found, forbidden, insufficient_scope, conflict where it is the only secret (revoke the key
 * instead), or where both secrets begin with `name`
 */
export async function endSecret(
  context: Context,
  origin: Origin,
  caller: KeyManager,
  id: string,
  name: string,
): Promise<void> {
  await changeManagedKey(context, origin, caller, id, WITH_SECRETS, async (change) => {
    const { tx, now, key, account, record } = change
    const live = liveSecrets(key, now.getTime())
    const named = live.filter((secret) => secret.id === name || secret.start === name)
    if (named.length > 1)
      fail('conflict', { detail: 'Both secrets begin with these characters: name the secret by its id.' })
    const [secret] = named
    if (!secret) fail('not_found')
    if (live.length === 1) fail('conflict', { detail: 'This is the only secret: revoke the key instead.' })
    const isNew = secret.id === live.at(-1)?.id
    const rest = live.filter((other) => other.id !== secret.id)
    const kept = isNew ? rest.map((other) => ({ ...other, expiresAt: null })) : rest
    requireKeyPower(change.caller, key, { ...key, secrets: kept }, account)
    await endSecrets(tx, [secret.id], now)
    if (isNew)
      await updateSecretExpiry(
        tx,
        rest.map((other) => other.id),
        null,
      )
    const details = { secret_id: secret.id, start: secret.start }
    await record({ action: 'key.secret_ended', target: { type: 'key', id }, details })
  })
}

/** The secrets that are valid at a time, oldest first. */
export function liveSecrets(key: WholeKey, nowMs: number): SecretRow[] {
  return key.secrets.filter((secret) => secret.expiresAt === null || secret.expiresAt.getTime() > nowMs)
}
