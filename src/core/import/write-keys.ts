import type { Transaction } from '../../db/database.ts'
import { newId } from '../../lib/ids.ts'
import { type Origin, type RecordEvent, recordEvents } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { readCredits } from '../keys/settings.ts'
import type { Raise } from './decide-keys.ts'
import type { ImportedKey } from './place-keys.ts'
import { insertImportedKeys, updateCeiling } from './queries.ts'

/** Writes keys with their secrets, credits and audit rows, and the ceilings that rise for them. */
export async function writeKeys(
  context: Context,
  tx: Transaction,
  origin: Origin,
  record: RecordEvent,
  keys: readonly ImportedKey[],
  raised: ReadonlyMap<string, Raise>,
): Promise<void> {
  for (const [id, { before, after }] of raised) {
    await updateCeiling(tx, id, after)
    const details = { before, after, imported: true }
    await record({ action: 'user.scopes_changed', target: { type: 'user', id }, details })
  }
  await insertImportedKeys(tx, {
    keys: keys.map(({ row, owner }) => ({
      ...row,
      ...(owner.type === 'user' ? { userId: owner.id } : { serviceAccountId: owner.id }),
    })),
    secrets: keys.map(({ row, secret, lastUsedAt }) => ({
      id: newId(),
      keyId: row.id,
      hash: secret.hash,
      start: secret.start,
      createdAt: row.createdAt,
      lastUsedAt,
    })),
    credits: keys.flatMap(({ row, credits }) =>
      credits ? [readCredits(row.id, credits, context.clock())] : [],
    ),
  })
  // Nobody has a new key in a cache.
  await recordEvents(tx, context, origin, keys.map(eventOf))
}

function eventOf({ row, owner }: ImportedKey) {
  const details = {
    owner,
    scopes: row.scopes,
    expires_at: row.expiresAt?.toISOString() ?? null,
    ...(row.revokedAt ? { revoked: true } : {}),
  }
  return { action: 'key.imported' as const, target: { type: 'key' as const, id: row.id }, details }
}
