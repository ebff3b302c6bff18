import type { Context } from '../../context.ts'
import type { Transaction } from '../../db/open.ts'
import { ceilingOfUser, covers } from '../../lib/scopes.ts'
import type { RecordEvent } from '../audit/service.ts'
import { updateCeiling } from './queries.ts'
import type { KnownUser } from './trial.ts'

const MAX_SCOPES = 50

/**
 * The ceiling that a user must have to hold these scopes too.
 * @returns null where they hold them already; a refusal where it would be too long
 */
export function widenedCeiling(
  { config }: Pick<Context, 'config'>,
  user: KnownUser,
  scopes: readonly string[],
): string[] | { refusal: string } | null {
  const ceiling = ceilingOfUser(user, config.userScopes)
  const missing = scopes.filter((scope) => !covers(ceiling, scope))
  if (missing.length === 0) return null
  const held = user.scopes ?? (config.userScopes === 'any' ? [] : config.userScopes)
  const widened = [...held, ...missing]
  if (widened.length > MAX_SCOPES) return { refusal: `Its owner would hold more than ${MAX_SCOPES} scopes` }
  return widened
}

/** Gives a user a wider ceiling, as part of the import of a key. */
export async function raiseCeiling(
  tx: Transaction,
  record: RecordEvent,
  user: KnownUser,
  scopes: string[],
): Promise<void> {
  await updateCeiling(tx, user.id, scopes)
  const details = { before: user.scopes, after: scopes, imported: true }
  await record({ action: 'user.scopes_changed', target: { type: 'user', id: user.id }, details })
}
