import { DAY_MS, HOUR_MS } from '../../lib/time.ts'
import { SYSTEM } from '../audit/audit.ts'
import { recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { OPERATOR } from '../principal.ts'
import { findExpiringKeys } from './queries.ts'

/** How long before their end the owner of keys is told. */
const MARKS_MS = [14 * DAY_MS, 3 * DAY_MS]
/** A user gets one such mail a day, with all keys that passed a mark since the one before. */
const APART_MS = 23 * HOUR_MS
/** For a user without an earlier mail, marks that were passed longer ago than this are left out. */
const LOOKS_BACK_MS = 2 * DAY_MS
/** Users in a round. The others follow in the next round. */
const MAX_USERS = 1000

/** How a mail names a key. */
export const nameKey = ({ id, name }: { id: string; name: string | null }): string =>
  name === null ? id : `${name} (${id})`

/**
 * Mails users that keys of theirs, or of service accounts that they alone manage, expire in 14 and in 3 days.
 * @returns how many users
 */
export async function noticeExpiringKeys(context: Context): Promise<number> {
  if (!context.mail.isOn) return 0
  // One server at a time: the second one sees the mails of the first.
  const lock = ['advisory', 'keys_expiring'] as const
  return recordChange(context, SYSTEM, OPERATOR, [lock], async ({ tx, now, queueMail }) => {
    const users = await findExpiringKeys(tx, now, {
      marksMs: MARKS_MS,
      apartMs: APART_MS,
      looksBackMs: LOOKS_BACK_MS,
      limit: MAX_USERS,
    })
    await queueMail(
      users.map(({ userId, email, keys }) => ({
        kind: 'keys_expiring',
        to: email,
        userId,
        parameters: { keys: keys.map((key) => `${nameKey(key)}: ${new Date(key.expires_at).toUTCString()}`) },
      })),
    )
    return users.length
  })
}
