import type { Database, Transaction } from '../../db/database.ts'
import { newId } from '../../lib/ids.ts'
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../lib/time.ts'
import {
  hashToken,
  makeOneTimeToken,
  makeSetupToken,
  type OneTimeClaims,
  type OneTimePurpose,
  readOneTimeToken,
} from '../../lib/tokens.ts'
import type { Context } from '../context.ts'
import { hurryMailsOf } from '../mail/queue.ts'
import {
  findToken,
  insertToken,
  isHashLive,
  type OneTimeTokenRow,
  updateSetupTokenUsed,
  updateTokenEnd,
  updateTokensVoided,
  updateTokenUsed,
} from './queries.ts'

export { listTokens } from './queries.ts'
export type { OneTimeTokenRow }

const LASTS_MS: Record<OneTimePurpose, number> = {
  verify: DAY_MS,
  change_email: DAY_MS,
  reset: 30 * MINUTE_MS,
  invite: 3 * DAY_MS,
}
const SETUP_LASTS_MS = HOUR_MS

/** The longest time in which a mail is tried. The life of its token may begin as late as that. */
export const MAIL_LASTS_MS = DAY_MS

/** What a token is issued for. */
export type NewToken = {
  id: string
  purpose: OneTimePurpose
  userId: string
  /** The address that it is mailed to, and proves; null: an admin hands it over. */
  email: string | null
  /** The admin who issues it; null: the user, or an operator. */
  issuedBy: string | null
}

/**
 * Issues a token, and voids the older ones of its user and purpose. The caller holds a lock on the user, so that of two
 * issued at once one is left.
 * @returns when it expires; for a mailed token the latest possible time, because its life begins when the mail is sent
 */
export async function issueToken(tx: Transaction, now: Date, token: NewToken): Promise<Date> {
  const { userId, purpose, email } = token
  await endTokens(tx, userId, now, { purpose })
  const expiresAt = firstEnd(now, purpose, email !== null)
  await insertToken(tx, { ...token, createdAt: now, expiresAt })
  return expiresAt
}

const firstEnd = (createdAt: Date, purpose: OneTimePurpose, isMailed: boolean): Date =>
  new Date(createdAt.getTime() + LASTS_MS[purpose] + (isMailed ? MAIL_LASTS_MS : 0))

/** Computes the text of a token from the id and the purpose of its row. */
export function tokenOf(context: Pick<Context, 'keys'>, claims: OneTimeClaims): string {
  const [key] = context.keys.oneTime
  if (!key) throw new Error('No key to compute one-time tokens with')
  return makeOneTimeToken(key, claims)
}

/** The row of a computed token. It has a user, and its purpose is never `setup`. */
export type LiveToken = OneTimeTokenRow & { userId: string; purpose: OneTimePurpose }

/** The row of a token of one of these purposes that may still be used; null for anything else. Uses nothing up. */
export async function findLiveToken(
  context: Pick<Context, 'db' | 'clock' | 'keys'>,
  token: string,
  purposes: readonly OneTimePurpose[],
): Promise<LiveToken | null> {
  const claims = readOneTimeToken(context.keys.oneTime, token)
  if (claims === null || !purposes.includes(claims.purpose)) return null
  const row = await findLiveTokenById(context.db, claims.id, new Date(context.clock()))
  return row?.purpose === claims.purpose ? row : null
}

/** The same by the id of its row. */
export async function findLiveTokenById(
  db: Database | Transaction,
  id: string,
  now: Date,
): Promise<LiveToken | null> {
  const row = await findToken(db, id, now)
  if (!row || row.purpose === 'setup' || row.userId === null) return null
  return { ...row, purpose: row.purpose, userId: row.userId }
}

/** Uses a token up; false where it is used, void or over. One UPDATE, so that of two at once one works. */
export async function useToken(tx: Transaction, id: string, now: Date): Promise<boolean> {
  const isUsed = (await updateTokenUsed(tx, id, now)) !== null
  if (isUsed) await hurryMailsOf(tx, [id], now)
  return isUsed
}

/** Voids every unused token of a user, as part of a change after which none of them may work. */
export async function voidTokens(tx: Transaction, userId: string, now: Date): Promise<void> {
  await endTokens(tx, userId, now)
}

/** Voids one unused token of a user and a purpose. @returns false where the user has no such token */
export async function voidToken(
  tx: Transaction,
  userId: string,
  claims: OneTimeClaims,
  now: Date,
): Promise<boolean> {
  return (await endTokens(tx, userId, now, claims)) > 0
}

/** Voids tokens, and has the mails that still wait with their links given up. @returns how many */
async function endTokens(
  tx: Transaction,
  userId: string,
  now: Date,
  which: Partial<OneTimeClaims> = {},
): Promise<number> {
  const ids = await updateTokensVoided(tx, userId, now, which)
  await hurryMailsOf(tx, ids, now)
  return ids.length
}

/**
 * Begins the life of a mailed token, when its mail is first handed to the mail server. Later calls change nothing,
 * because the token then has another expiry than at first.
 */
export async function beginLife(
  db: Database,
  { id, purpose, createdAt }: Pick<LiveToken, 'id' | 'purpose' | 'createdAt'>,
  now: Date,
): Promise<void> {
  await updateTokenEnd(
    db,
    id,
    firstEnd(createdAt, purpose, true),
    new Date(now.getTime() + LASTS_MS[purpose]),
  )
}

/**
 * Makes a set-up token: random, stored hashed, so that every server knows the tokens of the others. It voids no other token.
 * @returns the token, which cannot be read again
 */
export async function issueSetupToken(tx: Transaction, now: Date): Promise<string> {
  const token = makeSetupToken()
  const expiresAt = new Date(now.getTime() + SETUP_LASTS_MS)
  await insertToken(tx, { id: newId(), purpose: 'setup', hash: hashToken(token), createdAt: now, expiresAt })
  return token
}

/** Uses a set-up token up; false where it is unknown, used or over. */
export function useSetupToken(tx: Transaction, token: string, now: Date): Promise<boolean> {
  return updateSetupTokenUsed(tx, hashToken(token), now)
}

/** Whether a set-up token may still be used. Uses nothing up. */
export const isSetupTokenLive = (db: Database, token: string, now: Date): Promise<boolean> =>
  isHashLive(db, hashToken(token), now)
