import type { users } from '../../db/schema.ts'
import type { RateColumns } from '../../lib/rate.ts'
import { type Origin, recordEvents, wereRecorded } from '../audit/audit.ts'
import { recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { kindOf } from '../passwords/kinds.ts'
import { OPERATOR } from '../principal.ts'
import { nothingSeen, type Outcome, placeTogether, refused, type Seen, type Trial } from './outcome.ts'
import { findUsersLike, insertImportedUsers, notifyPasswordKinds } from './queries.ts'

/** A user who comes from elsewhere. */
export type ImportedUser = Omit<
  typeof users.$inferSelect,
  | 'passwordChangedAt'
  | 'lockedSettings'
  | 'hasSecondFactor'
  | 'isSignUp'
  | 'firstLoginAt'
  | 'hasCredits'
  | keyof RateColumns
>

/**
 * Imports users, each whole or not at all. A user who exists already stays unchanged.
 * @param users with their addresses in the normal form
 * @param trial the state of a dry run, in which nothing is written; null: a real run
 */
export function placeUsers(
  context: Context,
  origin: Origin,
  users: readonly ImportedUser[],
  trial: Trial | null,
): Promise<Outcome[]> {
  return placeTogether(users, async (items) => {
    const outcomes = await decide(context, items, trial ?? nothingSeen())
    const accepted = items.filter((_, at) => outcomes[at]?.status === 'imported')
    if (trial === null && accepted.length > 0) await write(context, origin, accepted)
    return outcomes
  })
}

async function decide(context: Context, users: readonly ImportedUser[], seen: Seen): Promise<Outcome[]> {
  const ids = users.map(({ id }) => id)
  const here = await findUsersLike(
    context.db,
    ids,
    users.map(({ email }) => email),
  )
  const deleted = await wereRecorded(context.db, ['user.deleted'], ids)
  const byEmail = new Map(here.map((user) => [user.email, user]))
  const byId = new Map(here.map((user) => [user.id, user]))
  return users.map((user) => {
    const { id, email } = user
    const holder = seen.usersByEmail.get(email) ?? byEmail.get(email)
    if (holder?.id === id) return { status: 'already_imported', id }
    if (holder) return refused('Another user has this address here already')
    if (seen.usersById.has(id) || byId.has(id))
      return refused('A user of this id is here already, with another address')
    if (deleted.has(`user.deleted ${id}`))
      return refused('This user was imported before and has been deleted here since')
    seen.usersByEmail.set(email, user)
    seen.usersById.set(id, user)
    return { status: 'imported', id }
  })
}

async function write(context: Context, origin: Origin, users: readonly ImportedUser[]): Promise<void> {
  await recordChange(context, origin, OPERATOR, [], async ({ tx }) => {
    await insertImportedUsers(tx, users)
    const kinds = users.map(({ passwordHash }) => (passwordHash === null ? null : kindOf(passwordHash)))
    await notifyPasswordKinds(tx, new Set(kinds.filter((kind) => kind !== null)))
    const events = users.map(({ id, role }) => ({
      action: 'user.created' as const,
      target: { type: 'user' as const, id },
      details: { role, imported: true },
    }))
    await recordEvents(tx, context, origin, events)
  })
}
