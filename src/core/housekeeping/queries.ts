import { and, asc, getTableName, isNull, lt, or, type SQL, sql } from 'drizzle-orm'
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core'
import { authorizationCodes, authorizationRequests, deviceCodes } from '../../db/authorization.ts'
import { instances, keyRefusals, runningExports, usageByOwner } from '../../db/console.ts'
import type { Database } from '../../db/database.ts'
import { usedAssertions } from '../../db/oauth.ts'
import {
  codeFailures,
  mailboxCounts,
  mails,
  oneTimeTokens,
  passkeyChallenges,
  pendingSteps,
  totpSecrets,
} from '../../db/people.ts'
import { portalSessions } from '../../db/portal.ts'
import { regions, usageReports } from '../../db/regions.ts'
import {
  apiKeySecrets,
  apiKeys,
  auditEvents,
  keyCreations,
  keyUsage,
  loginAttempts,
  passwordResets,
  revokedTokens,
  sessions,
  topUps,
} from '../../db/schema.ts'

/** Rows per transaction, so that no deletion holds locks for long. */
const STEP = 1000
/** Keys per transaction: each takes its secrets, and its uses by hour and outcome, with it. */
const KEYS_STEP = 250

/** The times before which the rows of each table are deleted. */
export type Horizons = {
  sessions: Date
  attempts: Date
  resets: Date
  audit: Date
  /** Of the `Idempotency-Key`s of creations and top-ups, and of the ids of reports of usage. */
  creations: Date
  /** Of secrets whose overlap is over: they are marked as ended. */
  shownSecrets: Date
  /** Of servers, and of exports that a server wrote out: when they were last seen. */
  instances: Date
  tokens: Date
  /** Of the assertions of clients. */
  assertions: Date
  usage: Date
  oneTimeTokens: Date
  /** Of mails that were sent or given up. */
  endedMails: Date
  /** Of mails that nothing sends any more, since SMTP_URL is gone. */
  waitingMails: Date
  mailboxes: Date
  /** Of what works for minutes: pending second steps, and what a passkey is to sign. */
  steps: Date
  portalSessions: Date
  /** Of requests of apps, of authorization codes, and of device codes. */
  authorizations: Date
  /** A TOTP that was not confirmed. */
  pendingTotp: Date
  /** Of wrong codes: when the last one came. */
  wrongCodes: Date
  refusals: Date
}

/** The rows to delete. `id` tells rows apart: a column, or where no single column does, the row's physical place. */
type Deletion = {
  table: PgTable
  id: PgColumn | SQL
  isOutdated: SQL | undefined
  /** Rows of a step, where each of them takes rows of other tables with it. */
  most?: number
}

/**
 * Deletes the rows that are no longer needed, in steps. A table on which another instance works at the moment is left
 * to that instance.
 * @returns how many rows were deleted
 */
export async function deleteOutdatedRows(db: Database, before: Horizons): Promise<number> {
  const endedAt = [sessions.expiresAt, sessions.idleExpiresAt, sessions.endedAt]
  const deletions: Deletion[] = [
    { table: sessions, id: sessions.id, isOutdated: or(...endedAt.map((end) => lt(end, before.sessions))) },
    {
      table: loginAttempts,
      id: loginAttempts.emailHmac,
      isOutdated: lt(loginAttempts.windowStartedAt, before.attempts),
    },
    { table: passwordResets, id: passwordResets.id, isOutdated: lt(passwordResets.expiresAt, before.resets) },
    { table: auditEvents, id: auditEvents.id, isOutdated: lt(auditEvents.at, before.audit) },
    { table: keyCreations, id: keyCreations.hash, isOutdated: lt(keyCreations.createdAt, before.creations) },
    { table: topUps, id: topUps.hash, isOutdated: lt(topUps.createdAt, before.creations) },
    {
      table: usageReports,
      id: usageReports.id,
      isOutdated: lt(usageReports.receivedAt, before.creations),
    },
    // As long as the audit trail knows of its registration.
    { table: regions, id: regions.name, isOutdated: lt(regions.reportedAt, before.audit) },
    // One statement for each way to end, so that each has its index.
    { table: apiKeys, id: apiKeys.id, isOutdated: lt(apiKeys.revokedAt, before.audit), most: KEYS_STEP },
    { table: apiKeys, id: apiKeys.id, isOutdated: endedBefore(before.audit), most: KEYS_STEP },
    // As long as the audit trail knows of them, `POST /keys/lookup` does.
    { table: apiKeySecrets, id: apiKeySecrets.id, isOutdated: lt(apiKeySecrets.endedAt, before.audit) },
    {
      table: runningExports,
      id: runningExports.adminId,
      isOutdated: lt(runningExports.expiresAt, before.instances),
    },
    { table: instances, id: instances.id, isOutdated: lt(instances.seenAt, before.instances) },
    { table: revokedTokens, id: revokedTokens.id, isOutdated: lt(revokedTokens.expiresAt, before.tokens) },
    {
      table: usedAssertions,
      id: usedAssertions.id,
      isOutdated: lt(usedAssertions.expiresAt, before.assertions),
    },
    { table: keyRefusals, id: sql`ctid`, isOutdated: lt(keyRefusals.at, before.refusals) },
    { table: keyRefusals, id: sql`ctid`, isOutdated: isBeyondNewest },
    {
      table: passkeyChallenges,
      id: passkeyChallenges.challenge,
      isOutdated: lt(passkeyChallenges.expiresAt, before.steps),
    },
    { table: pendingSteps, id: pendingSteps.id, isOutdated: lt(pendingSteps.expiresAt, before.steps) },
    {
      table: portalSessions,
      id: portalSessions.id,
      isOutdated: lt(portalSessions.expiresAt, before.portalSessions),
    },
    {
      table: authorizationRequests,
      id: authorizationRequests.id,
      isOutdated: lt(authorizationRequests.expiresAt, before.authorizations),
    },
    {
      table: authorizationCodes,
      id: authorizationCodes.id,
      isOutdated: lt(authorizationCodes.expiresAt, before.authorizations),
    },
    {
      table: deviceCodes,
      id: deviceCodes.id,
      isOutdated: lt(deviceCodes.expiresAt, before.authorizations),
    },
    {
      table: totpSecrets,
      id: totpSecrets.id,
      isOutdated: and(isNull(totpSecrets.confirmedAt), lt(totpSecrets.createdAt, before.pendingTotp)),
    },
    {
      table: codeFailures,
      id: codeFailures.userId,
      isOutdated: lt(codeFailures.lastFailedAt, before.wrongCodes),
    },
    {
      table: usageByOwner,
      id: sql`ctid`,
      isOutdated: lt(usageByOwner.hour, before.usage),
    },
    { table: keyUsage, id: sql`ctid`, isOutdated: lt(keyUsage.hour, before.usage) },
    {
      table: oneTimeTokens,
      id: oneTimeTokens.id,
      isOutdated: lt(oneTimeTokens.expiresAt, before.oneTimeTokens),
    },
    {
      table: mails,
      id: mails.id,
      isOutdated: or(
        lt(mails.endedAt, before.endedMails),
        and(isNull(mails.endedAt), lt(mails.nextAttemptAt, before.waitingMails)),
      ),
    },
    {
      table: mailboxCounts,
      id: mailboxCounts.emailHmac,
      isOutdated: lt(mailboxCounts.windowStartedAt, before.mailboxes),
    },
  ]
  await markEndedSecrets(db, before.shownSecrets)
  let total = 0
  for (const deletion of deletions) {
    const { most = STEP } = deletion
    let deleted = most
    while (deleted === most) {
      deleted = await deleteStep(db, deletion)
      total += deleted
    }
  }
  return total
}

/** As its index has it. */
const endedBefore = (at: Date) =>
  sql`coalesce(${apiKeys.expiresAt}, 'infinity'::timestamptz) < ${at.toISOString()}::timestamptz`

/** Refusals of a key that are kept. */
const MAX_REFUSALS_OF_KEY = 100

const isBeyondNewest = sql`ctid IN (
  SELECT ranked.ctid FROM (
    SELECT ctid, row_number() OVER (PARTITION BY key_id ORDER BY at DESC) AS place FROM ${keyRefusals}
  ) AS ranked WHERE ranked.place > ${MAX_REFUSALS_OF_KEY})`

/** Marks secrets whose overlap is long over as ended, in steps. */
async function markEndedSecrets(db: Database, before: Date): Promise<void> {
  let marked = STEP
  while (marked === STEP) {
    const step = db
      .select({ id: apiKeySecrets.id })
      .from(apiKeySecrets)
      .where(and(isNull(apiKeySecrets.endedAt), lt(apiKeySecrets.expiresAt, before)))
      .orderBy(asc(apiKeySecrets.id))
      .limit(STEP)
      .for('no key update', { skipLocked: true })
    const rows = await db
      .update(apiKeySecrets)
      .set({ endedAt: sql`${apiKeySecrets.expiresAt}` })
      .where(sql`${apiKeySecrets.id} IN ${step}`)
      .returning({ id: apiKeySecrets.id })
    marked = rows.length
  }
}

function deleteStep(db: Database, { table, id, isOutdated, most = STEP }: Deletion): Promise<number> {
  // One lock per table. With one lock for all, two instances that are at different tables would both skip theirs.
  const name = `latchkey.sweep.${getTableName(table)}`
  return db.transaction(async (tx) => {
    const [lock] = await tx
      .select({ isOurs: sql<boolean>`pg_try_advisory_xact_lock(hashtextextended(${name}, 0))` })
      .from(sql`(SELECT 1) AS one`)
    if (!lock?.isOurs) return 0
    const step = tx.select({ id }).from(table).where(isOutdated).limit(most)
    return (await tx.delete(table).where(sql`${id} IN ${step}`).returning({ id })).length
  })
}

/** Frees the space of deleted rows. Only the embedded database needs it. */
export async function vacuum(db: Database): Promise<void> {
  await db.execute(sql`VACUUM`)
}
