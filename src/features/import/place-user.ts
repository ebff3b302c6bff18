import type { Context } from '../../context.ts'
import type { Database } from '../../db/open.ts'
import { Problem } from '../../lib/errors.ts'
import { type Origin, recordChange, wasRecorded } from '../audit/service.ts'
import { changeUser } from '../users/service.ts'
import { decideAnew, type Outcome, refused } from './outcome.ts'
import { findUsersLike, type ImportedUserRow, insertImportedUser } from './queries.ts'
import type { Trial } from './trial.ts'

/**
 * Takes over one user, whole or not at all. Who is here already stays as they are.
 * @param user with the address in its normal form
 * @param trial in a dry run: nothing is written
 */
export async function placeUser(
  context: Context,
  origin: Origin,
  user: ImportedUserRow,
  trial: Trial | null,
): Promise<Outcome> {
  if (trial) {
    const outcome = await judge(context.db, user, trial)
    if (outcome.status === 'imported') {
      trial.usersByEmail.set(user.email, user)
      trial.usersById.set(user.id, user)
    }
    return outcome
  }
  return decideAnew(async () => {
    const outcome = await judge(context.db, user, null)
    if (outcome.status !== 'imported') return outcome
    return recordChange(context, origin, async (tx, record) => {
      await insertImportedUser(tx, user)
      const details = { role: user.role, imported: true }
      await record({ action: 'user.created', target: { type: 'user', id: user.id }, details })
      return outcome
    })
  })
}

async function judge(db: Database, { id, email }: ImportedUserRow, trial: Trial | null): Promise<Outcome> {
  const [known, isDeleted] = await Promise.all([
    findUsersLike(db, { id, email }),
    wasRecorded(db, 'user.deleted', id),
  ])
  const holder = trial?.usersByEmail.get(email) ?? known.holder
  const namesake = trial?.usersById.get(id) ?? known.namesake
  if (holder?.id === id) return { status: 'already_imported', id }
  if (holder) return refused('Another user has this address here already')
  if (namesake) return refused('A user of this id is here already, with another address')
  if (isDeleted) return refused('This user was imported before and has been deleted here since')
  return { status: 'imported', id }
}

/**
 * A user who has been disabled at the source since they were imported is disabled here too, with their sessions.
 * @returns why not, where that may not be
 */
export async function followDisabled(context: Context, origin: Origin, id: string): Promise<string | null> {
  try {
    await changeUser(context, origin, null, id, { is_active: false })
    return null
  } catch (error) {
    if (!(error instanceof Problem) || error.problem !== 'last_admin') throw error
    return 'This user has been disabled at the source, and is the last active admin here'
  }
}
