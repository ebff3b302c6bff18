import type { Database, Transaction } from '../../db/database.ts'
import { newId } from '../../lib/ids.ts'
import { MINUTE_MS } from '../../lib/time.ts'
import { hashToken, makeApiKey } from '../../lib/tokens.ts'
import type { Change } from '../change/record-change.ts'
import type { LogInKind } from '../principal.ts'
import {
  deletePendingStep,
  deletePendingSteps,
  findPendingStepByHash,
  insertPendingStep,
  type PendingStepRow,
} from './queries.ts'

const STEP_LASTS_MS = 5 * MINUTE_MS
const STEP_PREFIX = 'mfa_'

/** The session that a log-in asks for. */
export type WantedSession = {
  kind: LogInKind
  /** The scopes to which the session is limited; null: all of the user's. */
  scopes: readonly string[] | null
  remember: boolean
}

/** A new `mfa_token`. Only its hash is stored. */
export const makeStepToken = (): string => makeApiKey(STEP_PREFIX)

/** Notes that a user's password was right, for five minutes. */
export async function openPendingStep(
  { tx, now }: Pick<Change<null>, 'tx' | 'now'>,
  userId: string,
  token: string,
  { kind, scopes, remember }: WantedSession,
): Promise<void> {
  await insertPendingStep(tx, {
    id: newId(),
    hash: hashToken(token),
    userId,
    kind,
    scopes: scopes && [...scopes],
    remember,
    createdAt: now,
    expiresAt: new Date(now.getTime() + STEP_LASTS_MS),
  })
}

/** The step of an `mfa_token`; null where it is unknown, used, void or over. */
export function findPendingStep(
  db: Database | Transaction,
  token: string,
  nowMs: number,
): Promise<PendingStepRow | null> {
  return findPendingStepByHash(db, hashToken(token), new Date(nowMs))
}

/** Uses a step up, as part of the change that signs its user in. */
export const closePendingStep = (tx: Transaction, id: string): Promise<void> => deletePendingStep(tx, id)

/** Voids the pending second steps of a user, or of everybody (null), as part of a change that ends sessions or factors. */
export function endPendingSteps(tx: Transaction, userId: string | null): Promise<void> {
  return deletePendingSteps(tx, userId)
}
