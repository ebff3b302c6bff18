import { violatedConstraint } from '../../db/errors.ts'
import { fail, failToken } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import type { Origin } from '../audit/audit.ts'
import { onBehalfOf } from '../audit/audit.ts'
import { type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { requireCurrentPassword, requireStillProved } from '../login/current-password.ts'
import { requireLogin } from '../login/log-in.ts'
import { inEqualTime, issueLink, requireMail } from '../mail/link.ts'
import { mayMail } from '../mail/mailbox.ts'
import {
  findLiveToken,
  issueToken,
  type LiveToken,
  useToken,
  voidTokens,
} from '../one-time-tokens/one-time-tokens.ts'
import type { UserPrincipal } from '../principal.ts'
import { endPendingSteps } from '../second-factors/pending-steps.ts'
import { findUserByEmail, findUserById, setVerifiedEmail, type UserRow } from '../users/accounts.ts'
import { requireEmail } from '../users/email.ts'
import type { EmailChange, EmailVerification, VerifiedEmail } from './model.ts'
import { sendVerification } from './send-verification.ts'

/**
 * A user asks for another address. It is theirs once they open the link that is mailed there. The answer and its time do
 * not tell whether the address is taken: its holder is told instead.
 * @throws Problem conflict without SMTP_URL, validation_failed, invalid_login, reauthentication_required
 */
export async function requestEmailChange(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  input: EmailChange,
): Promise<void> {
  requireMail(context)
  const email = requireEmail(input.email)
  const { userId } = caller
  const proved = await requireCurrentPassword(context, origin, caller, input.current_password, 'email_change')
  await inEqualTime(() =>
    recordChange(context, origin, caller, [['users', userId, 'no key update']], async (change) => {
      const { tx, held, now, record, queueMail } = change
      requireStillProved(context, change, proved)
      const user = held.users.get(userId) ?? fail('invalid_token')
      if (user.email === email) {
        if (!user.emailVerified) await sendVerification(context, change, user)
        return
      }
      if (!(await mayMail(tx, context, email, now))) return
      const holder = await findUserByEmail(tx, email)
      if (holder) {
        // A token that is never sent. It voids the older ones, as for a free address.
        await issueToken(tx, now, { id: newId(), purpose: 'change_email', userId, email, issuedBy: null })
        await queueMail({ kind: 'account_exists', to: email, userId: holder.id })
      } else await issueLink(change, { kind: 'verify_email', purpose: 'change_email', userId, email })
      // The same row either way: the caller reads it in their activity.
      await record({
        action: 'user.verification_sent',
        target: { type: 'user', id: userId },
        details: { email },
      })
    }),
  )
}

/**
 * Proves an address by a mailed token: the present one, or a new one, which is the user's from then on. It takes the
 * account's password too, or a credential of the account. Otherwise a person who opens the link would confirm an account
 * that a stranger made with that address.
 * @param caller the user who is logged in; null: no user is
 * @throws Problem invalid_token, password_required, invalid_login, too_many_attempts, email_taken; none of them uses the
 * token up
 */
export async function verifyEmail(
  context: Context,
  origin: Origin,
  caller: UserPrincipal | null,
  { token: text, password }: EmailVerification,
): Promise<VerifiedEmail> {
  const token = await findLiveToken(context, text, ['verify', 'change_email'])
  const user = token && (await findUserById(context.db, token.userId))
  if (!token || !user || !isGoodFor(token, user)) failToken()
  const holder = caller?.userId === user.id ? caller : null
  if (holder === null) {
    if (password === undefined) fail('password_required')
    await requireLogin(context, origin, user.email, password)
  }
  const locks: Lock[] = [['users', user.id, 'no key update']]
  const work = recordChange(context, onBehalfOf(origin, user.id), holder, locks, async (change) => {
    const { tx, held, now, record, queueMail } = change
    const present = held.users.get(user.id)
    if (!present || !isGoodFor(token, present)) failToken()
    const isSameLogin = present.passwordChangedAt?.getTime() === user.passwordChangedAt?.getTime()
    if (holder === null && !isSameLogin) fail('invalid_login')
    const email = token.email ?? failToken()
    const isNew = email !== present.email
    if (isNew && (await findUserByEmail(tx, email))) fail('email_taken')
    if (!(await useToken(tx, token.id, now))) failToken()
    await setVerifiedEmail(tx, user.id, email)
    const target = { type: 'user', id: user.id } as const
    if (isNew) {
      await voidTokens(tx, user.id, now)
      await endPendingSteps(tx, user.id)
      const parameters = { new_email: email }
      await queueMail({ kind: 'email_changed', to: present.email, userId: user.id, parameters })
      const details = { before: present.email, after: email }
      await record({ action: 'user.email_changed', target, details })
    }
    if (!present.emailVerified)
      await record({ action: 'user.email_verified', target, details: { before: false, after: true } })
    return { email, email_verified: true as const }
  })
  return work.catch((error: unknown) => {
    // Somebody else took it in the same moment.
    if (violatedConstraint(error) === 'users_email_key') fail('email_taken')
    throw error
  })
}

/**
 * Whether a token that proves an address is another user's, so that being signed in does not stand in for the password.
 * Uses nothing up.
 */
export async function isLinkOfAnother(context: Context, text: string, userId: string): Promise<boolean> {
  const token = await findLiveToken(context, text, ['verify', 'change_email'])
  return token !== null && token.userId !== userId
}

/** Whether a token may do something for a user as they are now. A token without an address proves none. */
const isGoodFor = ({ purpose, email }: LiveToken, user: UserRow): boolean =>
  user.isActive && email !== null && (purpose === 'change_email' || email === user.email)
