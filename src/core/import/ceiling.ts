import { ceilingOfUser, covers } from '../../lib/scopes.ts'
import type { Context } from '../context.ts'
import type { ImportedKey } from './place-keys.ts'
import type { KnownUser } from './queries.ts'

const MAX_SCOPES = 50

/** Whether its owner must be able to hold its scopes. Only what a key can do now counts: a dead one raises nothing. */
export function needsCeiling(
  { clock }: Pick<Context, 'clock'>,
  { row, owner, raisesCeiling }: ImportedKey,
): boolean {
  const isLive = !row.revokedAt && (!row.expiresAt || row.expiresAt.getTime() > clock())
  return raisesCeiling && owner.type === 'user' && isLive
}

/** Whether its owner, who is among the users, can hold its scopes already. */
export function holdsAll(
  context: Pick<Context, 'config'>,
  users: ReadonlyMap<string, KnownUser>,
  { row, owner }: ImportedKey,
): boolean {
  const user = users.get(owner.id)
  return user !== undefined && widenedCeiling(context, user, row.scopes) === null
}

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
