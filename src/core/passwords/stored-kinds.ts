import type { Context } from '../context.ts'
import { listKinds } from './queries.ts'

/** Users a statement: each takes some milliseconds, however many there are. */
const PAGE = 10_000

/** Finds the kinds of all hashes that are stored, and has the floor of failed checks follow them. */
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
