import { and, eq, gt, isNull, lte, or, sql } from 'drizzle-orm'
import { deviceCodes } from '../../db/authorization.ts'
import type { Database, Transaction } from '../../db/database.ts'
import { oauthClients, oauthGrants, resources } from '../../db/oauth.ts'

export type DeviceRow = typeof deviceCodes.$inferSelect

/** @returns false where another device has the same user code */
export async function insertDevice(db: Database, device: typeof deviceCodes.$inferInsert): Promise<boolean> {
  const target = deviceCodes.userCode
  const made = await db
    .insert(deviceCodes)
    .values(device)
    .onConflictDoNothing({ target })
    .returning({ id: deviceCodes.id })
  return made.length > 0
}

/** A device, answered or not, with what it was allowed. */
export async function findDevice(db: Database, hash: Uint8Array) {
  const [row] = await db
    .select({ device: deviceCodes, grant: oauthGrants, resource: resources })
    .from(deviceCodes)
    .leftJoin(oauthGrants, eq(oauthGrants.id, deviceCodes.grantId))
    .leftJoin(resources, eq(resources.id, deviceCodes.resourceId))
    .where(eq(deviceCodes.hash, hash))
  return row ?? null
}

const waits = (now: Date) =>
  and(isNull(deviceCodes.grantId), isNull(deviceCodes.deniedAt), gt(deviceCodes.expiresAt, now))

/**
 * Binds a device that waits to a browser session: the last one in which its code was typed.
 * @returns its id; null where none waits with this code
 */
export async function claimDevice(
  db: Database,
  userCode: string,
  sessionId: string,
  now: Date,
): Promise<string | null> {
  const [row] = await db
    .update(deviceCodes)
    .set({ sessionId })
    .where(and(eq(deviceCodes.userCode, userCode), waits(now)))
    .returning({ id: deviceCodes.id })
  return row?.id ?? null
}

const waitsIn = (id: string, sessionId: string, now: Date) =>
  and(eq(deviceCodes.id, id), eq(deviceCodes.sessionId, sessionId), waits(now))

/** A device that waits in a browser session, with its client and its resource; null also where these are disabled. */
export async function findDeviceOfSession(db: Database, id: string, sessionId: string, now: Date) {
  const [row] = await db
    .select({ device: deviceCodes, client: oauthClients, resource: resources })
    .from(deviceCodes)
    .innerJoin(oauthClients, eq(oauthClients.id, deviceCodes.clientId))
    .leftJoin(resources, eq(resources.id, deviceCodes.resourceId))
    .where(and(waitsIn(id, sessionId, now), eq(oauthClients.isActive, true)))
  if (row?.device.audience === 'resource' && !row.resource?.isActive) return null
  return row ?? null
}

/** @returns false where it was answered meanwhile */
export async function denyDevice(db: Database, id: string, sessionId: string, now: Date): Promise<boolean> {
  const denied = await db
    .update(deviceCodes)
    .set({ deniedAt: now })
    .where(waitsIn(id, sessionId, now))
    .returning({ id: deviceCodes.id })
  return denied.length > 0
}

/** @returns false where it was answered meanwhile */
export async function allowDevice(
  tx: Transaction,
  id: string,
  sessionId: string,
  now: Date,
  allowed: { grantId: string; allowedScopes: string[] },
): Promise<boolean> {
  const done = await tx
    .update(deviceCodes)
    .set(allowed)
    .where(waitsIn(id, sessionId, now))
    .returning({ id: deviceCodes.id })
  return done.length > 0
}

/** @returns false where it was used before, or is over */
export async function useDevice(tx: Transaction, id: string, now: Date): Promise<boolean> {
  const used = await tx
    .update(deviceCodes)
    .set({ usedAt: now })
    .where(and(eq(deviceCodes.id, id), isNull(deviceCodes.usedAt), gt(deviceCodes.expiresAt, now)))
    .returning({ id: deviceCodes.id })
  return used.length > 0
}

/** Notes a poll that came no sooner than it may. @returns false where it came too soon, or the person has answered */
export async function notePoll(db: Database, id: string, now: Date): Promise<boolean> {
  const { lastPolledAt, intervalSeconds } = deviceCodes
  const mayPollAt = sql`${lastPolledAt} + ${intervalSeconds} * interval '1 second'`
  const noted = await db
    .update(deviceCodes)
    .set({ lastPolledAt: now })
    .where(
      and(
        eq(deviceCodes.id, id),
        waits(now),
        or(isNull(lastPolledAt), lte(mayPollAt, sql`${now.toISOString()}::timestamptz`)),
      ),
    )
    .returning({ id: deviceCodes.id })
  return noted.length > 0
}

/** A device that polls too soon waits this much longer from then on (RFC 8628, section 3.5). */
const SLOWER_SECONDS = 5

/** Notes a poll that came too soon. @returns false where the person has answered */
export async function noteSlowDown(db: Database, id: string, now: Date): Promise<boolean> {
  const noted = await db
    .update(deviceCodes)
    .set({ lastPolledAt: now, intervalSeconds: sql`${deviceCodes.intervalSeconds} + ${SLOWER_SECONDS}` })
    .where(and(eq(deviceCodes.id, id), waits(now)))
    .returning({ id: deviceCodes.id })
  return noted.length > 0
}
