import { fail } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import type { Origin } from '../audit/audit.ts'
import { type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { UserPrincipal } from '../principal.ts'
import { CHALLENGE_LASTS_MS, makeChallenge, useChallenge } from './challenges.ts'
import { addFactor, locksOfFactors, loseFactor, presentPasskey, userOf } from './factors.ts'
import type {
  CreatedPasskey,
  NewPasskey,
  Passkey,
  PasskeyCreationOptions,
  PasskeyRequestOptions,
} from './model.ts'
import { findPendingStep } from './pending-steps.ts'
import { amrOfPasskey, userHandleOf } from './proofs.ts'
import {
  deletePasskey,
  findConfirmedTotp,
  insertPasskey,
  listPasskeys,
  type PasskeyRow,
  updatePasskey,
} from './queries.ts'
import { makeRecoveryCodes } from './recovery-codes.ts'
import { ALGORITHMS, requireRelyingParty, toBase64url, verifyRegistration } from './webauthn.ts'

const MAX_PASSKEYS = 20

/**
 * The options with which a browser makes a passkey.
 * @throws Problem conflict where browsers have no passkeys here, quota_exceeded
 */
export async function beginPasskey(context: Context, caller: UserPrincipal): Promise<PasskeyCreationOptions> {
  const party = requireRelyingParty(context.config)
  const { userId, sessionId, email } = caller
  const known = await listPasskeys(context.db, userId)
  requireRoom(known)
  const challenge = await makeChallenge(context, { purpose: 'register', userId, sessionId })
  return {
    challenge: toBase64url(challenge),
    rp: { id: party.id, name: context.config.brandName },
    user: { id: userHandleOf(userId), name: email, displayName: email },
    pubKeyCredParams: ALGORITHMS.map((alg) => ({ type: 'public-key', alg })),
    timeout: CHALLENGE_LASTS_MS,
    attestation: 'none',
    authenticatorSelection: {
      residentKey: 'required',
      requireResidentKey: true,
      userVerification: 'required',
    },
    excludeCredentials: known.map(describeCredential),
  }
}

/**
 * Enrols a passkey.
 * @returns it, with the recovery codes where this is the first factor
 * @throws Problem conflict where browsers have no passkeys here, or it is enrolled already; invalid_code, quota_exceeded
 */
export async function addPasskey(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  { name, response }: NewPasskey,
): Promise<CreatedPasskey> {
  const party = requireRelyingParty(context.config)
  const { userId, sessionId } = caller
  const challenge = await useChallenge(context, { purpose: 'register', userId, sessionId }, response)
  const credential = challenge && (await verifyRegistration(party, challenge, response))
  if (!credential) fail('invalid_code', { detail: 'The answer of the passkey does not fit: begin anew.' })
  const codes = makeRecoveryCodes()
  const id = newId()
  const transports = response.response.transports ?? []
  return recordChange(context, origin, caller, locksOfFactors(caller), async (change) => {
    const { tx, now } = change
    requireRoom(await listPasskeys(tx, userId))
    const amr = amrOfPasskey(credential.isBackedUp)
    const added = await addFactor(change, { factor: 'passkey', amr, name }, codes)
    const row = { id, userId, name, ...credential, transports, createdAt: now }
    if (!(await insertPasskey(tx, row))) fail('conflict', { detail: 'This passkey is enrolled already.' })
    return { id, name, created_at: now.toISOString(), ...added }
  })
}

/** @throws Problem not_found where the caller has no such passkey; conflict where browsers have no passkeys here */
export async function renamePasskey(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  id: string,
  name: string,
): Promise<Passkey> {
  requireRelyingParty(context.config)
  const locks: Lock[] = [['users', caller.userId, 'no key update']]
  return recordChange(context, origin, caller, locks, async ({ tx }) => {
    const passkey = requireOwn(await listPasskeys(tx, caller.userId), id)
    await updatePasskey(tx, passkey.id, { name })
    return presentPasskey({ ...passkey, name })
  })
}

/**
 * Removes a passkey.
 * @throws Problem not_found; conflict where browsers have no passkeys here, where it is the last factor and REQUIRE_MFA
 * asks for one, or the last passkey of somebody without a password
 */
export async function removePasskey(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  id: string,
): Promise<void> {
  requireRelyingParty(context.config)
  await recordChange(context, origin, caller, locksOfFactors(caller), async (change) => {
    const { tx } = change
    const all = await listPasskeys(tx, caller.userId)
    const passkey = requireOwn(all, id)
    const isLastPasskey = all.length === 1
    if (isLastPasskey && userOf(change).passwordHash === null) {
      fail('conflict', { detail: 'The account has no password: nobody could log in without this passkey.' })
    }
    const isLast = isLastPasskey && (await findConfirmedTotp(tx, caller.userId)) === null
    await loseFactor(context, change, { factor: 'passkey', isLast, name: passkey.name })
    await deletePasskey(tx, passkey.id)
  })
}

/**
 * The options with which a browser uses a passkey: to log in with any passkey of this service, or to take the second
 * step of a pending log-in with a passkey of its user.
 * @throws Problem conflict where browsers have no passkeys here; invalid_token
 */
export async function beginPasskeyLogin(
  context: Context,
  mfaToken: string | null,
): Promise<PasskeyRequestOptions> {
  requireRelyingParty(context.config)
  if (mfaToken === null) return requestOptions(context, await makeChallenge(context, { purpose: 'login' }))
  const step = await findPendingStep(context.db, mfaToken, context.clock())
  if (!step) fail('invalid_token', { isChallenged: false })
  const { userId } = step
  const use = { purpose: 'second_step', userId, pendingStepId: step.id } as const
  const usable = (await listPasskeys(context.db, userId)).filter(isUsable)
  return requestOptions(context, await makeChallenge(context, use), usable)
}

/**
 * The options with which a browser uses a passkey to re-authenticate the calling session.
 * @throws Problem conflict where browsers have no passkeys here, or the caller has none
 */
export async function beginReauthentication(
  context: Context,
  { userId, sessionId }: UserPrincipal,
): Promise<PasskeyRequestOptions> {
  requireRelyingParty(context.config)
  const usable = (await listPasskeys(context.db, userId)).filter(isUsable)
  if (usable.length === 0) fail('conflict', { detail: 'You have no passkey that can be used.' })
  const use = { purpose: 'reauthenticate', userId, sessionId } as const
  return requestOptions(context, await makeChallenge(context, use), usable)
}

function requestOptions(
  { config }: Context,
  challenge: Uint8Array,
  allowed?: readonly PasskeyRow[],
): PasskeyRequestOptions {
  return {
    challenge: toBase64url(challenge),
    rpId: requireRelyingParty(config).id,
    timeout: CHALLENGE_LASTS_MS,
    userVerification: 'required',
    ...(allowed && { allowCredentials: allowed.map(describeCredential) }),
  }
}

const isUsable = ({ suspendedAt }: PasskeyRow): boolean => suspendedAt === null

const describeCredential = ({ credentialId, transports }: PasskeyRow) => ({
  id: toBase64url(credentialId),
  type: 'public-key',
  transports,
})

function requireRoom(known: readonly PasskeyRow[]): void {
  if (known.length < MAX_PASSKEYS) return
  fail('quota_exceeded', { detail: `You have ${MAX_PASSKEYS} passkeys, which is all that there may be.` })
}

function requireOwn(own: readonly PasskeyRow[], id: string): PasskeyRow {
  return (isId(id) && own.find((passkey) => passkey.id === id)) || fail('not_found')
}
