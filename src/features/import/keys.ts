import type { Context } from '../../context.ts'
import { Problem } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import type { Origin } from '../audit/service.ts'
import { findAccount } from '../service-accounts/service.ts'
import { normaliseEmail } from '../users/email.ts'
import { findUserByEmail, findUserById } from '../users/service.ts'
import { type ReadKeyItem, readKeyItem } from './key-item.ts'
import { type Outcome, refused } from './outcome.ts'
import { type ImportedKey, placeKey } from './place-key.ts'
import type { Trial } from './trial.ts'

/** What became of one key of a request. */
export type KeyResult =
  | { status: 'imported' | 'already_imported'; id: string }
  | { status: 'refused'; error: string }

/**
 * Imports keys for an admin, one after the other, each whole or not at all: what stands behind a bad one goes on.
 * @param createdBy who is said to have made them: the admin
 * @returns a result an item, in their order
 */
export async function importKeys(
  context: Context,
  origin: Origin,
  createdBy: string,
  items: readonly unknown[],
): Promise<KeyResult[]> {
  const results: KeyResult[] = []
  for (const item of items) {
    const outcome = await importKeyItem(context, origin, createdBy, item, null)
    results.push(outcome.status === 'refused' ? { status: outcome.status, error: outcome.reason } : outcome)
  }
  return results
}

/** Imports one key as somebody wrote it, of a request or of a file. */
export async function importKeyItem(
  context: Context,
  origin: Origin,
  createdBy: string | null,
  item: unknown,
  trial: Trial | null,
): Promise<Outcome> {
  const read = readKeyItem(context, item, createdBy)
  if ('fault' in read) return refused(read.fault)
  const owner = await findOwner(context, read.owner)
  if (owner === null) return refused('owner: There is no such owner')
  return placeKey(context, origin, { ...read.key, owner }, trial)
}

async function findOwner(
  context: Context,
  { user_id, service_account_id, email }: ReadKeyItem['owner'],
): Promise<ImportedKey['owner'] | null> {
  const { db } = context
  if (service_account_id !== undefined) {
    const account = await findAccount(context, service_account_id).catch(nobody)
    return account && { type: 'service_account', id: account.id }
  }
  const address = email === undefined ? null : normaliseEmail(email)
  const user =
    user_id !== undefined && isId(user_id)
      ? await findUserById(db, user_id)
      : address && (await findUserByEmail(db, address))
  return user ? { type: 'user', id: user.id } : null
}

function nobody(error: unknown): null {
  if (error instanceof Problem && error.problem === 'not_found') return null
  throw error
}
