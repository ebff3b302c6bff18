import { createHash, timingSafeEqual } from 'node:crypto'
import { fail, failToken } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import { ceilingOfUser } from '../../lib/scopes.ts'
import { SECOND_MS } from '../../lib/time.ts'
import { hashToken, makeAuthorizationCode } from '../../lib/tokens.ts'
import type { Origin } from '../audit/audit.ts'
import { type Change, changedMeanwhile, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { allow, type GrantRow, locksOfGrant, updateGrant } from '../grants/grants.ts'
import type { OAuthTokens } from '../oauth/model.ts'
import type { UserPrincipal } from '../principal.ts'
import { identifierOf, scopesAllowed } from '../resources/audience.ts'
import { openClientSession } from '../sessions/sessions.ts'
import { requireGrantType } from './client-authentication.ts'
import { type CodeRow, endSession, findCode, findMadeSession, insertCode, useCode } from './queries.ts'
import { asPresent, type ClientRow, mayRedirect } from './resolve-client.ts'
import { type Asked, type AskedTarget, isIdentityScope } from './target.ts'
import { type AppSession, asApp, type Identity, issueAppTokens, lifetimeOf, scopesNow } from './tokens.ts'

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
  const { target } = asked
  const code = makeAuthorizationCode()
  const parties = { userId: caller.userId, clientId: client.id, target }
  const locks = async (): Promise<Lock[]> => [
    ['clients', client.id, 'share'],
    ...(target.resource ? ([['resources', target.resource.id, 'share']] as const) : []),
    ...(await locksOfGrant(context, parties)),
  ]
  return recordChange(context, origin, caller, locks, async (change) => {
    const { tx, held, now } = change
    const present = held.clients.get(client.id)
    const resource = target.resource && (held.resources.get(target.resource.id) ?? null)
    if (!present?.isActive) fail('unauthorized_client')
    if (target.audience === 'resource' && !resource?.isActive) fail('invalid_target')
    if (!mayRedirect(asPresent(context, present), redirectUri)) fail('unauthorized_client')
    const before = [...held.oauthGrants.values()].find((grant) => isOf(grant, parties)) ?? null
    if (!isAllowed(before)) return null
    const user = held.users.get(caller.userId)
    if (!user) fail('access_denied')
    const scopes =
      asked.scopes &&
      scopesAllowed(
        { ...target, resource },
        present,
        ceilingOfUser(user, context.config.userScopes),
        asked.scopes,
      )
    await use?.(change)
    const all = [...asked.identityScopes, ...(scopes ?? [])]
    const grantId = await allow(change, { ...parties, scopes: all, removed })
    await insertCode(tx, {
      id: newId(),
      hash: hashToken(code),
      grantId,
      sessionId: caller.sessionId,
      redirectUri,
      codeChallenge,
      nonce,
      scopes,
      identityScopes: [...asked.identityScopes],
      createdAt: now,
      expiresAt: new Date(now.getTime() + CODE_LASTS_MS),
    })
    return code
  })
}

const isOf = (grant: GrantRow, parties: { userId: string; clientId: string; target: AskedTarget }): boolean =>
  grant.userId === parties.userId &&
  grant.clientId === parties.clientId &&
  grant.audience === parties.target.audience &&
  grant.resourceId === (parties.target.resource?.id ?? null)

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
 * that the first made, since somebody else has the code too.
 * @throws Problem unauthorized_client, invalid_token
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
  if (!found || found.grant.clientId !== client.id) return failToken()
  const { code, grant, resource } = found
  const target: AskedTarget = { audience: grant.audience, resource }
  if (!fits(context, code, target, presented)) return failToken()
  const by = asApp(origin, client, { userId: grant.userId, grantId: grant.id })
  const made = { id: newId(), salt: crypto.getRandomValues(new Uint8Array(16)) }
  const hasRefresh = client.grants.includes('refresh_token')

  const locks = async (): Promise<Lock[]> => {
    const used = await findMadeSession(context.db, code.id)
    return [
      ['users', grant.userId, 'share'],
      ['clients', client.id, 'share'],
      ...(resource ? ([['resources', resource.id, 'share']] as const) : []),
      ['oauthGrants', grant.id, 'no key update'],
      ['sessionsOfGrant', grant.id, 'no key update'],
      ['sessions', code.sessionId, 'share'],
      ...(used === null ? [] : ([['sessions', used, 'no key update']] as const)),
    ]
  }
  const session = await recordChange(
    context,
    by,
    null,
    locks,
    async (change): Promise<(AppSession & { identity: Identity }) | null> => {
      const { tx, held, now, record } = change
      const usedFor = await findMadeSession(tx, code.id)
      if (usedFor !== null) {
        const first = held.sessions.get(usedFor)
        if (!first) throw changedMeanwhile()
        if (first.endedAt === null) {
          await endSession(tx, first.id, now, 'code_reused')
          const event = {
            action: 'session.reused',
            outcome: 'refused',
            target: { type: 'session', id: first.id },
          } as const
          await record({ ...event, details: { reason: 'code' } })
        }
        return null
      }
      const user = held.users.get(grant.userId)
      const browser = held.sessions.get(code.sessionId)
      const isLive =
        browser !== undefined &&
        browser.endedAt === null &&
        browser.expiresAt > now &&
        browser.idleExpiresAt > now
      const isGood =
        held.oauthGrants.has(grant.id) &&
        user?.isActive === true &&
        held.clients.get(client.id)?.isActive === true &&
        (resource === null || held.resources.get(resource.id)?.isActive === true)
      if (!user || !browser || !isLive || !isGood || code.expiresAt <= now) return null
      const { authTime, amr } = browser
      const { scopes, identityScopes } = code
      const opened = { ...made, userId: user.id, grantId: grant.id, authTime, amr, scopes, identityScopes }
      const idleExpiresAt = hasRefresh ? null : new Date(now.getTime() + lifetimeOf(context, target))
      const expiresAt = await openClientSession(context, change, by, { ...opened, idleExpiresAt })
      if (!(await useCode(tx, code.id, made.id, now))) throw changedMeanwhile()
      await updateGrant(tx, grant.id, { lastUsedAt: now })
      const of = { id: made.id, target, client, user, scopes, identityScopes, authTime, amr, expiresAt }
      return { ...of, identity: { nonce: code.nonce, email: user.email, emailVerified: user.emailVerified } }
    },
  )
  if (session === null) return failToken()
  const refresh = hasRefresh ? { sessionId: made.id, generation: 0, salt: made.salt } : null
  const { identityScopes, identity } = session
  return issueAppTokens(context, session, scopesNow(context, session), identityScopes, refresh, identity)
}

/** Whether what a client presents is that for which the code was issued. */
function fits(context: Context, code: CodeRow, target: AskedTarget, presented: PresentedCode): boolean {
  const { redirectUri, codeVerifier, resource } = presented
  if (redirectUri !== code.redirectUri || !VERIFIER.test(codeVerifier)) return false
  if (resource !== null && resource !== identifierOf(context.config, target)) return false
  const challenge = createHash('sha256').update(codeVerifier).digest('base64url')
  return timingSafeEqual(Buffer.from(challenge), Buffer.from(code.codeChallenge))
}

/** The scopes of OpenID Connect among some, and the others. */
export const partScopes = (scopes: readonly string[]) => ({
  identityScopes: scopes.filter(isIdentityScope),
  scopes: scopes.filter((scope) => !isIdentityScope(scope)),
})
