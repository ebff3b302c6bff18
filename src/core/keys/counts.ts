import type { Context } from '../context.ts'
import type { Key } from './model.ts'
import { presentKey } from './present.ts'
import { countUnrevoked, countWithStatus, type KeyFilter, listKeys } from './queries.ts'

const EXPIRING: KeyFilter = {
  ids: null,
  owner: null,
  externalId: null,
  status: 'expiring',
  expiresBefore: null,
  unusedSince: null,
  within: null,
}

/** How many keys of everybody expire soon, and those that do so first. */
export async function describeExpiring(
  { db, clock }: Pick<Context, 'db' | 'clock'>,
  limit: number,
): Promise<{ count: number; items: Key[] }> {
  const now = new Date(clock())
  const first = await listKeys(db, EXPIRING, 'expires_at', now, { limit, after: null, afterAt: null })
  const count = await countWithStatus(db, 'expiring', now)
  return { count, items: first.map((key) => presentKey(key, now.getTime())) }
}

/** How many keys of everybody are not revoked. Reads an index of all of them. */
export const countActiveKeys = ({ db }: Pick<Context, 'db'>): Promise<number> => countUnrevoked(db)
