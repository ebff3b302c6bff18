import type { Context } from '../context.ts'
import { listKinds } from './queries.ts'

/** Users per statement. A statement takes some milliseconds, whatever the number of users in the table. */
const PAGE = 10_000

/** Finds the kinds of all stored password hashes, and sets the duration of failed checks by them. */
export async function learnStoredKinds({ db, passwords }: Pick<Context, 'db' | 'passwords'>): Promise<void> {
  const kinds = findKinds(db)
  passwords.learn(kinds)
  await kinds
}

async function findKinds(db: Context['db']): Promise<Set<string>> {
  const found = new Set<string>()
  let after: string | null = null
  do {
    const page = await listKinds(db, { after, limit: PAGE })
    for (const kind of page.kinds) found.add(kind)
    after = page.last
  } while (after !== null)
  return found
}
