import type { Database, Transaction } from '../../db/database.ts'
import type { Context } from '../context.ts'
import { findPendingStep } from './pending-steps.ts'
import { countRecoveryCodes, findConfirmedTotp, listPasskeys } from './queries.ts'
import { relyingPartyOf } from './webauthn.ts'

/** The methods by which a person can take the second step now. */
export async function listMethods(
  { config }: Pick<Context, 'config'>,
  db: Database | Transaction,
  userId: string,
): Promise<string[]> {
  const [totp, passkeys, codesLeft] = await Promise.all([
    findConfirmedTotp(db, userId),
    listPasskeys(db, userId),
    countRecoveryCodes(db, userId),
  ])
  const hasPasskey =
    relyingPartyOf(config) !== null && passkeys.some(({ suspendedAt }) => suspendedAt === null)
  return [
    ...(totp ? ['totp'] : []),
    ...(hasPasskey ? ['passkey'] : []),
    ...(codesLeft > 0 ? ['recovery_code'] : []),
  ]
}

/** What a person has of second factors, in numbers: as admins see it. */
export async function countFactors(
  db: Database,
  userId: string,
): Promise<{ totp: boolean; passkeys: number; recovery_codes_left: number }> {
  const [totp, passkeys, left] = await Promise.all([
    findConfirmedTotp(db, userId),
    listPasskeys(db, userId),
    countRecoveryCodes(db, userId),
  ])
  return { totp: totp !== null, passkeys: passkeys.length, recovery_codes_left: left }
}

/** The same for a pending log-in. The list is empty where its token is unknown, used, void or over. */
export async function listMethodsOfStep(
  context: Pick<Context, 'config' | 'db' | 'clock'>,
  mfaToken: string,
): Promise<string[]> {
  const step = await findPendingStep(context.db, mfaToken, context.clock())
  return step ? listMethods(context, context.db, step.userId) : []
}
