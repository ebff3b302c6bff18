import { randomBytes } from 'node:crypto'
import { violatedConstraint } from '../../db/errors.ts'
import { fail } from '../../lib/errors.ts'
import { MINUTE_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import type { AuthenticationResponse, RegistrationResponse } from './model.ts'
import { type ChallengeRow, insertChallenge, takeChallenge } from './queries.ts'
import { challengeOf } from './webauthn.ts'

const CHALLENGE_BYTES = 32
export const CHALLENGE_LASTS_MS = 5 * MINUTE_MS

/** The use for which a challenge is made. A log-in has no user yet; every other use has one. */
export type ChallengePurpose =
  | { purpose: 'login' }
  | { purpose: 'second_step'; userId: string; pendingStepId: string }
  | { purpose: 'register' | 'reauthenticate'; userId: string; sessionId: string }

/**
 * A challenge for a passkey to sign, for five minutes.
 * @throws Problem invalid_token where the user, the session or the pending step went since it was read
 */
export async function makeChallenge(context: Context, use: ChallengePurpose): Promise<Uint8Array> {
  const challenge = new Uint8Array(randomBytes(CHALLENGE_BYTES))
  const now = context.clock()
  await insertChallenge(context.db, {
    challenge,
    ...use,
    createdAt: new Date(now),
    expiresAt: new Date(now + CHALLENGE_LASTS_MS),
  }).catch((error: unknown) => {
    if (violatedConstraint(error) === null) throw error
    fail('invalid_token', use.purpose === 'second_step' ? { isChallenged: false } : {})
  })
  return challenge
}

/**
 * Uses up the challenge that a response answers, also where the rest of the response is wrong.
 * @returns null where the challenge is not ours, or was made for another use
 */
export async function useChallenge(
  context: Context,
  use: ChallengePurpose,
  response: RegistrationResponse | AuthenticationResponse,
): Promise<Uint8Array | null> {
  const challenge = challengeOf(response)
  if (challenge?.length !== CHALLENGE_BYTES) return null
  const row = await takeChallenge(context.db, challenge, new Date(context.clock()))
  return row && isFor(row, use) ? challenge : null
}

function isFor(row: ChallengeRow, use: ChallengePurpose): boolean {
  if (row.purpose !== use.purpose) return false
  if (use.purpose === 'login') return true
  if (row.userId !== use.userId) return false
  return use.purpose === 'second_step'
    ? row.pendingStepId === use.pendingStepId
    : row.sessionId === use.sessionId
}
