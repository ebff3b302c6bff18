import { createHash, timingSafeEqual } from 'node:crypto'
import { failToken } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import { SECOND_MS } from '../../lib/time.ts'
import { hashToken, makeAuthorizationCode } from '../../lib/tokens.ts'
import type { Origin } from '../audit/audit.ts'
import { namingInAudit } from '../audit/naming.ts'
import { type Change, changedMeanwhile, type Lock, recordChange } from '../change/record-change.ts'
import type { ClientRow } from '../clients/rows.ts'
import type { Context } from '../context.ts'
import type { GrantRow } from '../grants/grants.ts'
import type { OAuthTokens } from '../oauth/model.ts'
import type { UserPrincipal } from '../principal.ts'
import { identifierOf } from '../resources/audience.ts'
import { updateSessionEnded } from '../sessions/sessions.ts'
import { allowApp } from './allow-app.ts'
import { requireGrantType } from './client-authentication.ts'
import { issueFirstTokens, locksOfOpening, type OpenedSession, openAppSession } from './open-session.ts'
import { type CodeRow, type FoundCode, findCode, findMadeSession, insertCode, useCode } from './queries.ts'
import { asPresent, mayRedirect } from './resolve-client.ts'
import type { Asked, AskedTarget } from './target.ts'
import { asApp, partiesOf } from './tokens.ts'

/** A code is traded by the client at once. */
const CODE_LASTS_MS = 60 * SECOND_MS

const CHALLENGE = /^[\w-]{43}$/
const VERIFIER = /^[\w.~-]{43,128}$/

/** Whether a text is a challenge of S256 (RFC 7636, section 4.2). */
export const isCodeChallenge = (text: string): boolean => CHALLENGE.test(text)

/** What a code is issued for. */
export type NewCode = {
  client: ClientRow
  redirectUri: string
  /** As far as the person may grant it. */
  asked: Asked
  codeChallenge: string
  nonce: string | null
  /** Whether the person need not be asked, by what was allowed before as it is then. */
  isAllowed(grant: GrantRow | null): boolean
  /** What the person allowed before, and unticked now. */
  removed?: readonly string[]
  /** Further work of the same transaction. */
  use?(change: Change<UserPrincipal>): Promise<void>
}

/**
 * Issues a code for what a person allows a client, and writes down that they do.
 * @param caller of the browser session
 * @returns null where it is no longer allowed
 * @throws Problem access_denied, invalid_target, unauthorized_client where it changed meanwhile
 */
export async function issueCode(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  { client, redirectUri, asked, codeChallenge, nonce, isAllowed, removed = [], use }: NewCode,
): Promise<string | null> {
  const code = makeAuthorizationCode()
  const mayAnswer = (present: ClientRow) => mayRedirect(asPresent(context, present), redirectUri)
  const consent = { client, asked, mayAnswer, isAllowed, removed }
  return allowApp(context, origin, caller, consent, async (change, allowed) => {
    const { tx, now } = change
    await use?.(change)
    await insertCode(tx, {
      id: newId(),
      hash: hashToken(code),
      ...allowed,
      sessionId: caller.sessionId,
      redirectUri,
      codeChallenge,
      nonce,
      createdAt: now,
      expiresAt: new Date(now.getTime() + CODE_LASTS_MS),
    })
    return code
  })
}

/** What a client presents with a code (RFC 6749, section 4.1.3; RFC 7636, section 4.5; RFC 8707). */
export type PresentedCode = {
  code: string
  redirectUri: string
  codeVerifier: string
  /** null: it names none. */
  resource: string | null
}

/**
 * Trades a code for the tokens of a new session. What does not fit leaves the code as it is. A second use ends the session
 * that the first made, since the code was stolen.
 * @throws Problem unauthorized_client, invalid_token, mfa_enrolment_required
 */
export async function tradeCode(
  context: Context,
  origin: Origin,
  client: ClientRow,
  presented: PresentedCode,
): Promise<OAuthTokens> {
  requireGrantType(client, 'authorization_code')
  const hash = hashToken(presented.code)
  const found = await findCode(context.db, hash)
  if (!found) return failToken()
  return namingInAudit(partiesOf(found.grant), () => tradeFound(context, origin, client, presented, found))
}

async function tradeFound(
  context: Context,
  origin: Origin,
  client: ClientRow,
  presented: PresentedCode,
  { code, grant, resource }: FoundCode,
): Promise<OAuthTokens> {
  if (grant.clientId !== client.id) return failToken()
  const target: AskedTarget = { audience: grant.audience, resource }
  if (!fits(context, code, target, presented)) return failToken()
  const by = asApp(origin, client, { userId: grant.userId, grantId: grant.id })
  const basis = { client, grant, resource, sessionId: code.sessionId }

  const locks = async (): Promise<Lock[]> => {
    const used = await findMadeSession(context.db, code.id)
    return [
      ...locksOfOpening(basis),
      ...(used === null ? [] : ([['sessions', used, 'no key update']] as const)),
    ]
  }
  const opened = await recordChange(
    context,
    by,
    null,
    locks,
    async (change): Promise<OpenedSession | null> => {
      const { tx, held, now, record } = change
      const usedFor = await findMadeSession(tx, code.id)
      if (usedFor !== null) {
        const first = held.sessions.get(usedFor)
        if (!first) throw changedMeanwhile()
        if (first.endedAt === null) {
          await updateSessionEnded(tx, first.id, now, 'code_reused')
          const event = {
            action: 'session.reused',
            outcome: 'refused',
            target: { type: 'session', id: first.id },
          } as const
          await record({ ...event, details: { reason: 'code' } })
        }
        return null
      }
      const made = code.expiresAt <= now ? null : await openAppSession(context, change, by, basis, code)
      if (made && !(await useCode(tx, code.id, made.session.id, now))) throw changedMeanwhile()
      return made
    },
  )
  return opened === null ? failToken() : issueFirstTokens(context, opened)
}

/** Whether what a client presents is that for which the code was issued. */
function fits(context: Context, code: CodeRow, target: AskedTarget, presented: PresentedCode): boolean {
  const { redirectUri, codeVerifier, resource } = presented
  if (redirectUri !== code.redirectUri || !VERIFIER.test(codeVerifier)) return false
  if (resource !== null && resource !== identifierOf(context.config, target)) return false
  const challenge = createHash('sha256').update(codeVerifier).digest('base64url')
  return timingSafeEqual(Buffer.from(challenge), Buffer.from(code.codeChallenge))
}
