import type { Transaction } from '../../db/database.ts'
import type { Context } from '../context.ts'
import { countRecoveryCodes, findConfirmedTotp, listPasskeys } from './queries.ts'
import { relyingPartyOf } from './webauthn.ts'

/** By which of their factors a person can take the second step now. */
export async function listMethods(
  { config }: Pick<Context, 'config'>,
  tx: Transaction,
  userId: string,
): Promise<string[]> {
  const [totp, passkeys, codesLeft] = await Promise.all([
    findConfirmedTotp(tx, userId),
    listPasskeys(tx, userId),
    countRecoveryCodes(tx, userId),
  ])
  const hasPasskey =
    relyingPartyOf(config) !== null && passkeys.some(({ suspendedAt }) => suspendedAt === null)
  return [
    ...(totp ? ['totp'] : []),
    ...(hasPasskey ? ['passkey'] : []),
    ...(codesLeft > 0 ? ['recovery_code'] : []),
  ]
}
