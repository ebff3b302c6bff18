import { fail } from '../../lib/errors.ts'
import { type Origin, onBehalfOf, recordEvent } from '../audit/audit.ts'
import { type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { LogInKind } from '../principal.ts'
import { guardCode } from '../second-factors/code-lock.ts'
import type { AuthenticationResponse, SecondStep } from '../second-factors/model.ts'
import { closePendingStep, findPendingStep, type WantedSession } from '../second-factors/pending-steps.ts'
import {
  acceptAssertion,
  checkProof,
  joinAmr,
  prepareProof,
  readAssertion,
  readProof,
} from '../second-factors/proofs.ts'
import { openSignIn, requireVerified, type SignIn } from './sign-in.ts'

/**
 * Finishes a pending log-in by its second factor. A wrong proof does not use the token up; a right one does.
 * @param kind of session that the entry point makes. The token must have been issued for the same kind
 * @throws Problem invalid_token where the token is unknown, used, void, over or for the other kind; invalid_code,
 * too_many_attempts, validation_failed, and what `openSignIn` throws
 */
export async function finishSignIn(
  context: Context,
  origin: Origin,
  kind: LogInKind,
  { mfa_token: token, ...body }: SecondStep,
): Promise<SignIn> {
  const presented = readProof(body)
  const step = await findPendingStep(context.db, token, context.clock())
  if (step?.kind !== kind) return fail('invalid_token', { isChallenged: false })
  const { id: pendingStepId, userId } = step
  const by = onBehalfOf(origin, userId)
  const proof = await prepareProof(context, { purpose: 'second_step', userId, pendingStepId }, presented)
  const locks: Lock[] = [['users', userId, 'no key update']]
  const attempt = () =>
    recordChange(context, by, null, locks, async (change) => {
      const user = change.held.users.get(userId)
      // Every change that voids a step locks its user first, so the step stays valid from here on.
      const isPending = user?.isActive && (await findPendingStep(change.tx, token, context.clock()))
      if (!user || !isPending) fail('invalid_token', { isChallenged: false })
      const accepted = await checkProof(context, change, user, proof, 'login')
      if (!accepted) return null
      const signedIn = await openSignIn(context, change, by, user, step, joinAmr(['pwd'], accepted.amr))
      await accepted.use()
      await closePendingStep(change.tx, pendingStepId)
      return signedIn
    })
  const signedIn =
    proof.method === 'passkey' ? await attempt() : await guardCode(context, by, userId, attempt)
  return requireVerified(signedIn ?? fail('invalid_code'))
}

/**
 * Signs somebody in by a passkey alone, which is both factors. Every failure is one answer.
 * @throws Problem invalid_login; conflict where browsers have no passkeys here; what `openSignIn` throws
 */
export async function signInByPasskey(
  context: Context,
  origin: Origin,
  response: AuthenticationResponse,
  wanted: WantedSession,
): Promise<SignIn> {
  const assertion = await readAssertion(context, { purpose: 'login' }, response)
  if (!assertion) {
    context.metrics.secondFactors.wrong += 1
    await recordEvent(context.db, context, origin, {
      action: 'user.login_failed',
      outcome: 'refused',
      details: { method: 'passkey' },
    })
    return fail('invalid_login', REFUSED)
  }
  const { userId } = assertion.passkey
  const by = onBehalfOf(origin, userId)
  const locks: Lock[] = [['users', userId, 'no key update']]
  const signedIn = await recordChange(context, by, null, locks, async (change) => {
    const user = change.held.users.get(userId)
    const accepted = user?.isActive ? await acceptAssertion(context, change, user, assertion) : null
    context.metrics.secondFactors[accepted ? 'right' : 'wrong'] += 1
    if (!user || !accepted) {
      const target = { type: 'user' as const, id: userId }
      const details = { method: 'passkey' }
      await change.record({ action: 'user.login_failed', outcome: 'refused', target, details }, origin)
      return null
    }
    const opened = await openSignIn(context, change, by, user, wanted, accepted.amr)
    await accepted.use()
    return opened
  })
  return requireVerified(signedIn ?? fail('invalid_login', REFUSED))
}

const REFUSED = { detail: 'This passkey does not log anybody in.' }
