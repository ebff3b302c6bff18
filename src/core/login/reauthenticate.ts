import { fail, failField } from '../../lib/errors.ts'
import type { Origin } from '../audit/audit.ts'
import { type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { UserPrincipal } from '../principal.ts'
import { guardCode } from '../second-factors/code-lock.ts'
import { renewAuthentication } from '../second-factors/factors.ts'
import type { Reauthenticated, Reauthentication } from '../second-factors/model.ts'
import { checkProof, prepareProof, readProof } from '../second-factors/proofs.ts'
import { findUserById, type UserRow } from '../users/accounts.ts'
import { checkOwnPassword } from './current-password.ts'

/**
 * A person proves again who they are, in the session that asks: by a second factor where they have one, else by the
 * password. Recovery codes are not taken.
 * @throws Problem mfa_required for the password of somebody who has a second factor; invalid_login, invalid_code,
 * too_many_attempts, validation_failed
 */
export async function reauthenticate(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  { password, ...factors }: Reauthentication,
): Promise<Reauthenticated> {
  const { code, response } = factors
  if ([password, code, response].filter((given) => given !== undefined).length !== 1) {
    failField(caller.hasSecondFactor ? '/code' : '/password', 'Send one proof, and no more than one')
  }
  const authTime =
    password === undefined
      ? await byFactor(context, origin, caller, factors)
      : await byPassword(context, origin, caller, password)
  return { auth_time: (authTime ?? fail('invalid_code')).toISOString() }
}

async function byPassword(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  password: string,
): Promise<Date> {
  if (caller.hasSecondFactor) fail('mfa_required', ASK_FACTOR)
  const user = (await findUserById(context.db, caller.userId)) ?? fail('invalid_token')
  await checkOwnPassword(context, origin, user, password, 'reauthentication')
  return recordChange(context, origin, caller, locksOf(caller), async (change) => {
    const now = userOf(change)
    // Of the locked rows: a factor may have been added, or another password chosen, since this one was checked.
    if (now.hasSecondFactor) fail('mfa_required', ASK_FACTOR)
    if (now.passwordChangedAt?.getTime() !== user.passwordChangedAt?.getTime()) fail('conflict')
    return renew(change, 'password', ['pwd'])
  })
}

const ASK_FACTOR = { detail: 'Prove it by your second factor: send a code, or a passkey’s response.' }

/** @returns null where the proof is wrong */
async function byFactor(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  factors: Pick<Reauthentication, 'code' | 'response'>,
): Promise<Date | null> {
  const { userId, sessionId } = caller
  const presented = readProof(factors)
  const proof = await prepareProof(context, { purpose: 'reauthenticate', userId, sessionId }, presented)
  const attempt = () =>
    recordChange(context, origin, caller, locksOf(caller), async (change) => {
      const accepted = await checkProof(context, change, userOf(change), proof, 'reauthentication')
      if (!accepted) return null
      const authTime = await renew(change, proof.method, accepted.amr)
      await accepted.use()
      return authTime
    })
  return proof.method === 'passkey' ? attempt() : guardCode(context, origin, userId, attempt)
}

/** Locks the user's row in the mode in which every use and every change of a factor locks it. */
const locksOf = ({ userId, sessionId }: UserPrincipal): Lock[] => [
  ['users', userId, 'no key update'],
  ['sessions', sessionId, 'no key update'],
]

const userOf = ({ held, caller }: Change<UserPrincipal>): UserRow =>
  held.users.get(caller.userId) ?? fail('invalid_token')

async function renew(change: Change<UserPrincipal>, method: string, amr: readonly string[]): Promise<Date> {
  await renewAuthentication(change, amr)
  const target = { type: 'user' as const, id: change.caller.userId }
  const details = { method, session_id: change.caller.sessionId }
  await change.record({ action: 'user.reauthenticated', target, details })
  return change.now
}
