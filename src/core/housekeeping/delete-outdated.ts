import { DAY_MS, HOUR_MS, IDEMPOTENCY_LASTS_MS } from '../../lib/time.ts'
import { deleteUnusedApps } from '../client-registration/delete-unused.ts'
import type { Context } from '../context.ts'
import { PLACES_LAST_MS } from '../sessions/notice-sign-in.ts'
import { CLOCK_MARGIN_MS } from '../signing/asymmetric.ts'
import { deleteNeverVerified } from '../users/never-verified.ts'
import { deleteOutdatedRows, type Horizons, vacuum } from './queries.ts'

/**
 * An ended session is kept this long, so that a replay of its tokens is still recognised as one, and a browser that
 * returns is not taken for a new one.
 */
const ENDED_SESSIONS_STAY_MS = PLACES_LAST_MS

/** A mail is kept this long after it was sent or given up, and so is one that is never sent. */
const MAILS_STAY_MS = 7 * DAY_MS

/** A secret is shown this long after its overlap, so that an operator still sees the time of its last use. */
const ENDED_SECRETS_SHOWN_MS = DAY_MS

/** The row of a server is kept this long after the server was last seen. */
const INSTANCES_STAY_MS = HOUR_MS

/** Wrong codes count in a row for this long after the last one; the longest lock is a day. */
const WRONG_CODES_STAY_MS = 30 * DAY_MS

/**
 * Deletes rows that are no longer needed, and keys that ended before the audit trail begins, so that no table grows without bound.
 * @param vacuums true for the embedded database, which does not vacuum by itself
 * @returns how many rows were deleted
 */
export async function deleteOutdated(context: Context, { vacuums }: { vacuums: boolean }): Promise<number> {
  const now = context.clock()
  const before: Horizons = {
    sessions: new Date(now - ENDED_SESSIONS_STAY_MS),
    attempts: new Date(now - DAY_MS),
    resets: new Date(now - DAY_MS),
    audit: new Date(now - context.config.auditRetentionDays * DAY_MS),
    creations: new Date(now - IDEMPOTENCY_LASTS_MS),
    shownSecrets: new Date(now - ENDED_SECRETS_SHOWN_MS),
    instances: new Date(now - INSTANCES_STAY_MS),
    // The row refuses the token until it has expired by the clock of every server.
    tokens: new Date(now - CLOCK_MARGIN_MS),
    assertions: new Date(now - CLOCK_MARGIN_MS),
    steps: new Date(now - DAY_MS),
    portalSessions: new Date(now - DAY_MS),
    authorizations: new Date(now - DAY_MS),
    pendingTotp: new Date(now - DAY_MS),
    wrongCodes: new Date(now - WRONG_CODES_STAY_MS),
    refusals: new Date(now - context.config.refusalsRetentionDays * DAY_MS),
    usage: new Date(now - context.config.usageRetentionDays * DAY_MS),
    oneTimeTokens: new Date(now - DAY_MS),
    endedMails: new Date(now - MAILS_STAY_MS),
    waitingMails: new Date(now - MAILS_STAY_MS),
    mailboxes: new Date(now - HOUR_MS),
  }
  const deleted =
    (await deleteOutdatedRows(context.db, before)) +
    (await deleteNeverVerified(context)) +
    (await deleteUnusedApps(context))
  if (vacuums && deleted > 0) await vacuum(context.db)
  return deleted
}
