import { failField } from '../../lib/errors.ts'
import { type Change, changedMeanwhile } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { type ChallengePurpose, useChallenge } from './challenges.ts'
import { forgetWrongCodes } from './code-lock.ts'
import type { AuthenticationResponse } from './model.ts'
import { notify } from './notices.ts'
import {
  countRecoveryCodes,
  findConfirmedTotp,
  findPasskey,
  findPasskeyById,
  isRecoveryCodeGood,
  takeRecoveryCode,
  updatePasskey,
  updateTotp,
} from './queries.ts'
import { hashRecoveryCode } from './recovery-codes.ts'
import { findStep } from './totp.ts'
import { type Assertion, fromBase64url, requireRelyingParty, verifyAssertion } from './webauthn.ts'

/** A second factor as it is presented. */
export type PresentedProof =
  | { method: 'totp' | 'recovery_code'; code: string }
  | { method: 'passkey'; response: AuthenticationResponse }

/** The same after the checks that need no lock. `assertion: null`: the passkey's response failed them. */
export type Proof =
  | { method: 'totp' | 'recovery_code'; code: string }
  | { method: 'passkey'; assertion: Assertion | null }

/** A proof that is right. */
export type AcceptedProof = {
  /** What it adds to the session's `amr` (RFC 8176). */
  amr: readonly string[]
  /**
   * Uses the proof up, as part of the change. Called after the sessions were changed, because of the order of locks.
   */
  use(): Promise<void>
}

/** The person who presents a proof, from their locked row. */
type Prover = { id: string; email: string }

/**
 * The single proof in a body.
 * @throws Problem validation_failed where it names none or several
 */
export function readProof(body: {
  code?: string
  recovery_code?: string
  response?: AuthenticationResponse
}): PresentedProof {
  const { code, recovery_code, response } = body
  const [proof, ...more]: PresentedProof[] = [
    ...(code === undefined ? [] : [{ method: 'totp' as const, code }]),
    ...(recovery_code === undefined ? [] : [{ method: 'recovery_code' as const, code: recovery_code }]),
    ...(response === undefined ? [] : [{ method: 'passkey' as const, response }]),
  ]
  if (proof === undefined || more.length > 0) failField('/code', 'Send one proof, and no more than one')
  return proof
}

/**
 * Checks of a proof what needs no lock: a passkey's signature. Its challenge is used up by that.
 * @throws Problem conflict where browsers have no passkeys here
 */
export async function prepareProof(
  context: Context,
  use: ChallengePurpose,
  proof: PresentedProof,
): Promise<Proof> {
  return proof.method === 'passkey'
    ? { method: 'passkey', assertion: await readAssertion(context, use, proof.response) }
    : proof
}

/** Verifies what a passkey signed for a use. null: some part of it is wrong, or the passkey belongs to another user. */
export async function readAssertion(
  context: Context,
  use: ChallengePurpose,
  response: AuthenticationResponse,
): Promise<Assertion | null> {
  const party = requireRelyingParty(context.config)
  const challenge = await useChallenge(context, use, response)
  const passkey = challenge && (await findPasskey(context.db, fromBase64url(response.id)))
  if (!challenge || !passkey) return null
  if (use.purpose !== 'login' && passkey.userId !== use.userId) return null
  const { userHandle } = response.response
  // Where a challenge has no user, the passkey has to name its user.
  if (userHandle ? userHandle !== userHandleOf(passkey.userId) : use.purpose === 'login') return null
  return verifyAssertion(party, challenge, response, passkey)
}

/** `user.id` of WebAuthn: the 16 bytes of the user's id. */
export const userHandleOf = (userId: string): string =>
  Buffer.from(userId.replaceAll('-', ''), 'hex').toString('base64url')

/**
 * Checks a proof within a change that has locked the user's row for update. Every use and every change of a factor
 * locks that row, so a code that is presented to two servers is accepted once. A wrong proof leaves an audit row.
 * @param at where it is asked for, for the audit trail
 */
export async function checkProof(
  context: Context,
  change: Pick<Change<null>, 'tx' | 'now' | 'record' | 'queueMail'>,
  user: Prover,
  proof: Proof,
  at: 'login' | 'reauthentication',
): Promise<AcceptedProof | null> {
  const accepted =
    proof.method === 'passkey'
      ? proof.assertion && (await acceptAssertion(context, change, user, proof.assertion))
      : await acceptCode(context, change, user, proof)
  context.metrics.secondFactors[accepted ? 'right' : 'wrong'] += 1
  if (accepted) return accepted
  const target = { type: 'user' as const, id: user.id }
  const details = { method: proof.method, at }
  await change.record({ action: 'user.mfa_failed', outcome: 'refused', target, details })
  return null
}

async function acceptCode(
  context: Context,
  { tx, now, record, queueMail }: Pick<Change<null>, 'tx' | 'now' | 'record' | 'queueMail'>,
  user: Prover,
  { method, code }: { method: 'totp' | 'recovery_code'; code: string },
): Promise<AcceptedProof | null> {
  if (method === 'totp') {
    const row = await findConfirmedTotp(tx, user.id)
    const lastStep = row && findStep(context, row, code)
    if (row === null || lastStep === null) return null
    return {
      amr: ['mfa', 'otp'],
      async use() {
        await updateTotp(tx, row.id, { lastStep })
        await forgetWrongCodes(tx, user.id)
      },
    }
  }
  const hash = hashRecoveryCode(user.id, code)
  if (!(await isRecoveryCodeGood(tx, user.id, hash))) return null
  return {
    amr: ['mfa'],
    async use() {
      if (!(await takeRecoveryCode(tx, hash, now))) throw changedMeanwhile()
      await forgetWrongCodes(tx, user.id)
      const left = await countRecoveryCodes(tx, user.id)
      const target = { type: 'user' as const, id: user.id }
      await record({ action: 'user.recovery_code_used', target, details: { left } })
      await notify({ queueMail }, user, { kind: 'recovery_code_used', left })
    },
  }
}

/**
 * Checks the sign count. A count that does not grow, where either count is above zero, means that the passkey may have
 * been copied: this use is refused, and the passkey is suspended. Two counts of zero come from an authenticator that
 * does not count.
 */
export async function acceptAssertion(
  context: Context,
  { tx, now, record, queueMail }: Pick<Change<null>, 'tx' | 'now' | 'record' | 'queueMail'>,
  user: Prover,
  { passkey, signCount, isBackedUp }: Assertion,
): Promise<AcceptedProof | null> {
  const present = await findPasskeyById(tx, passkey.id)
  if (present?.userId !== user.id || present.suspendedAt !== null) return null
  if ((signCount > 0 || present.signCount > 0) && signCount <= present.signCount) {
    context.metrics.secondFactors.suspended += 1
    await updatePasskey(tx, present.id, { suspendedAt: now })
    const target = { type: 'user' as const, id: user.id }
    const details = { passkey_id: present.id, name: present.name }
    await record({ action: 'user.passkey_suspended', outcome: 'refused', target, details })
    await notify({ queueMail }, user, { kind: 'passkey_suspended', name: present.name })
    return null
  }
  return {
    amr: amrOfPasskey(isBackedUp),
    use: () => updatePasskey(tx, present.id, { signCount, isBackedUp, lastUsedAt: now }),
  }
}

/** A passkey is both factors: a key of the hardware or a synchronised one, and its person was verified (RFC 8176). */
export const amrOfPasskey = (isBackedUp: boolean): string[] =>
  isBackedUp ? ['mfa', 'swk', 'user'] : ['hwk', 'mfa', 'user']

/** Several `amr` as one, sorted. */
export const joinAmr = (...amr: (readonly string[])[]): string[] => [...new Set(amr.flat())].sort()
