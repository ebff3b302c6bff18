import { and, asc, count, eq, gt, isNotNull, isNull, ne, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import {
  codeFailures,
  passkeyChallenges,
  passkeys,
  pendingSteps,
  recoveryCodes,
  totpSecrets,
} from '../../db/people.ts'
import { sessions, users } from '../../db/schema.ts'

export type TotpRow = typeof totpSecrets.$inferSelect
export type PasskeyRow = typeof passkeys.$inferSelect
export type PendingStepRow = typeof pendingSteps.$inferSelect
export type ChallengeRow = typeof passkeyChallenges.$inferSelect

// TOTP

export async function findConfirmedTotp(db: Database | Transaction, userId: string): Promise<TotpRow | null> {
  const [row] = await db
    .select()
    .from(totpSecrets)
    .where(and(eq(totpSecrets.userId, userId), isNotNull(totpSecrets.confirmedAt)))
  return row ?? null
}

/** The secret that waits for its first code, if it was made after `since`. */
export async function findPendingTotp(tx: Transaction, userId: string, since: Date): Promise<TotpRow | null> {
  const [row] = await tx
    .select()
    .from(totpSecrets)
    .where(
      and(eq(totpSecrets.userId, userId), isNull(totpSecrets.confirmedAt), gt(totpSecrets.createdAt, since)),
    )
  return row ?? null
}

export async function deletePendingTotp(tx: Transaction, userId: string): Promise<void> {
  await tx.delete(totpSecrets).where(and(eq(totpSecrets.userId, userId), isNull(totpSecrets.confirmedAt)))
}

/** Deletes what a user has of TOTP, all but one row where `except` names it. */
export async function deleteTotp(tx: Transaction, userId: string, except?: string): Promise<void> {
  await tx
    .delete(totpSecrets)
    .where(and(eq(totpSecrets.userId, userId), except === undefined ? undefined : ne(totpSecrets.id, except)))
}

export async function insertTotp(tx: Transaction, row: typeof totpSecrets.$inferInsert): Promise<void> {
  await tx.insert(totpSecrets).values(row)
}

export async function updateTotp(
  tx: Transaction,
  id: string,
  change: Partial<Pick<TotpRow, 'confirmedAt' | 'lastStep'>>,
): Promise<void> {
  await tx.update(totpSecrets).set(change).where(eq(totpSecrets.id, id))
}

/** Secrets in the order of their ids, after the id `after`; locked, so that none is replaced meanwhile. */
export function lockTotpSecrets(tx: Transaction, after: string | null, limit: number): Promise<TotpRow[]> {
  return tx
    .select()
    .from(totpSecrets)
    .where(after === null ? undefined : gt(totpSecrets.id, after))
    .orderBy(asc(totpSecrets.id))
    .limit(limit)
    .for('no key update')
}

/** In one statement, however many there are. */
export async function updateTotpSecrets(
  tx: Transaction,
  rows: readonly { id: string; secret: Uint8Array }[],
): Promise<void> {
  const given = JSON.stringify(rows.map(({ id, secret }) => ({ id, secret: secret.toHex() })))
  await tx
    .update(totpSecrets)
    .set({ secret: sql`decode(given.secret, 'hex')` })
    .from(sql`jsonb_to_recordset(${given}::jsonb) AS given (id uuid, secret text)`)
    .where(sql`${totpSecrets.id} = given.id`)
}

// Recovery codes

/** Replaces all of a user's recovery codes, used ones too. */
export async function replaceRecoveryCodes(
  tx: Transaction,
  userId: string,
  hashes: readonly Uint8Array[],
  now: Date,
): Promise<void> {
  await tx.delete(recoveryCodes).where(eq(recoveryCodes.userId, userId))
  if (hashes.length > 0)
    await tx.insert(recoveryCodes).values(hashes.map((hash) => ({ hash, userId, createdAt: now })))
}

export async function countRecoveryCodes(db: Database | Transaction, userId: string): Promise<number> {
  const [row] = await db
    .select({ left: count() })
    .from(recoveryCodes)
    .where(and(eq(recoveryCodes.userId, userId), isNull(recoveryCodes.usedAt)))
  return row?.left ?? 0
}

export async function isRecoveryCodeGood(
  tx: Transaction,
  userId: string,
  hash: Uint8Array,
): Promise<boolean> {
  const [row] = await tx
    .select({ userId: recoveryCodes.userId })
    .from(recoveryCodes)
    .where(and(eq(recoveryCodes.hash, hash), eq(recoveryCodes.userId, userId), isNull(recoveryCodes.usedAt)))
  return row !== undefined
}

/** Uses a code up; of two at once, one finds it. */
export async function takeRecoveryCode(tx: Transaction, hash: Uint8Array, now: Date): Promise<boolean> {
  const taken = await tx
    .update(recoveryCodes)
    .set({ usedAt: now })
    .where(and(eq(recoveryCodes.hash, hash), isNull(recoveryCodes.usedAt)))
    .returning({ hash: recoveryCodes.hash })
  return taken.length > 0
}

// Passkeys

/** A user's passkeys, oldest first. */
export function listPasskeys(db: Database | Transaction, userId: string): Promise<PasskeyRow[]> {
  return db.select().from(passkeys).where(eq(passkeys.userId, userId)).orderBy(asc(passkeys.id))
}

export async function findPasskey(
  db: Database | Transaction,
  credentialId: Uint8Array,
): Promise<PasskeyRow | null> {
  const [row] = await db.select().from(passkeys).where(eq(passkeys.credentialId, credentialId))
  return row ?? null
}

export async function findPasskeyById(tx: Transaction, id: string): Promise<PasskeyRow | null> {
  const [row] = await tx.select().from(passkeys).where(eq(passkeys.id, id))
  return row ?? null
}

/** false where the credential is enrolled already, for whomever. */
export async function insertPasskey(tx: Transaction, row: typeof passkeys.$inferInsert): Promise<boolean> {
  const inserted = await tx
    .insert(passkeys)
    .values(row)
    .onConflictDoNothing({ target: passkeys.credentialId })
    .returning({ id: passkeys.id })
  return inserted.length > 0
}

export async function updatePasskey(
  tx: Transaction,
  id: string,
  change: Partial<Pick<PasskeyRow, 'name' | 'signCount' | 'isBackedUp' | 'lastUsedAt' | 'suspendedAt'>>,
): Promise<void> {
  await tx.update(passkeys).set(change).where(eq(passkeys.id, id))
}

export async function deletePasskey(tx: Transaction, id: string): Promise<void> {
  await tx.delete(passkeys).where(eq(passkeys.id, id))
}

export async function deletePasskeys(tx: Transaction, userId: string): Promise<void> {
  await tx.delete(passkeys).where(eq(passkeys.userId, userId))
}

// Challenges

export async function insertChallenge(
  db: Database,
  row: typeof passkeyChallenges.$inferInsert,
): Promise<void> {
  await db.insert(passkeyChallenges).values(row)
}

/** Uses a challenge up, whatever becomes of the try; null where it is unknown, used or over. */
export async function takeChallenge(
  db: Database,
  challenge: Uint8Array,
  now: Date,
): Promise<ChallengeRow | null> {
  const [row] = await db
    .delete(passkeyChallenges)
    .where(eq(passkeyChallenges.challenge, challenge))
    .returning()
  return row && row.expiresAt > now ? row : null
}

// Pending second steps

export async function insertPendingStep(
  tx: Transaction,
  row: typeof pendingSteps.$inferInsert,
): Promise<void> {
  await tx.insert(pendingSteps).values(row)
}

export async function findPendingStepByHash(
  db: Database | Transaction,
  hash: Uint8Array,
  now: Date,
): Promise<PendingStepRow | null> {
  const [row] = await db
    .select()
    .from(pendingSteps)
    .where(and(eq(pendingSteps.hash, hash), gt(pendingSteps.expiresAt, now)))
  return row ?? null
}

export async function deletePendingStep(tx: Transaction, id: string): Promise<void> {
  await tx.delete(pendingSteps).where(eq(pendingSteps.id, id))
}

/** Of one user, or of everybody. */
export async function deletePendingSteps(tx: Transaction, userId: string | null): Promise<void> {
  await tx.delete(pendingSteps).where(userId === null ? undefined : eq(pendingSteps.userId, userId))
}

// Wrong codes

export type Reservation = { failures: number; lockedUntil: Date | null }

/**
 * Counts a code before it is checked, unless codes are locked. Each `CODES_A_LOCK`th of them locks at once, so that of
 * fifty at the same moment five are checked. One statement.
 * @returns null where codes are locked, and nothing is counted then
 */
export async function reserveCode(
  db: Database,
  userId: string,
  now: Date,
  { codes, firstLockMinutes, longestLockMinutes }: LockPolicy,
): Promise<Reservation | null> {
  const at = sql`${now.toISOString()}::timestamptz`
  const next = sql`${codeFailures.failures} + 1`
  // Beyond twenty doublings it is the longest lock anyway, and the power stays a number that fits.
  const doublings = sql`LEAST((${next}) / ${codes}::int - 1, 20)`
  const minutes = sql`LEAST(${firstLockMinutes}::int * power(2, ${doublings}), ${longestLockMinutes}::int)`
  const [row] = await db
    .insert(codeFailures)
    .values({ userId, failures: 1, lastFailedAt: now })
    .onConflictDoUpdate({
      target: codeFailures.userId,
      set: {
        failures: next,
        lastFailedAt: now,
        lockedUntil: sql`CASE WHEN (${next}) % ${codes}::int = 0 THEN ${at} + ${minutes} * interval '1 minute'
          ELSE ${codeFailures.lockedUntil} END`,
      },
      setWhere: sql`${codeFailures.lockedUntil} IS NULL OR ${codeFailures.lockedUntil} <= ${at}`,
    })
    .returning({ failures: codeFailures.failures, lockedUntil: codeFailures.lockedUntil })
  return row ?? null
}

export type LockPolicy = { codes: number; firstLockMinutes: number; longestLockMinutes: number }

/** Until when a user's codes are locked; null: no count is known. */
export async function findLockEnd(db: Database, userId: string): Promise<Date | null> {
  const [row] = await db
    .select({ lockedUntil: codeFailures.lockedUntil })
    .from(codeFailures)
    .where(eq(codeFailures.userId, userId))
  return row?.lockedUntil ?? null
}

/** Gives a reserved code back, and the lock that it brought: it was not checked. */
export async function releaseCode(db: Database, userId: string, { lockedUntil }: Reservation): Promise<void> {
  await db
    .update(codeFailures)
    .set({
      failures: sql`GREATEST(${codeFailures.failures} - 1, 0)`,
      lockedUntil: sql`NULLIF(${codeFailures.lockedUntil}, ${lockedUntil?.toISOString() ?? null}::timestamptz)`,
    })
    .where(eq(codeFailures.userId, userId))
}

export async function deleteCodeFailures(tx: Transaction, userId: string): Promise<void> {
  await tx.delete(codeFailures).where(eq(codeFailures.userId, userId))
}

// What else changes with them

export async function updateHasSecondFactor(
  tx: Transaction,
  userId: string,
  hasSecondFactor: boolean,
): Promise<void> {
  await tx.update(users).set({ hasSecondFactor }).where(eq(users.id, userId))
}

export async function updateAuthentication(
  tx: Transaction,
  sessionId: string,
  change: { authTime?: Date; amr: string[] },
): Promise<void> {
  await tx.update(sessions).set(change).where(eq(sessions.id, sessionId))
}
