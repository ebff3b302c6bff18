import { ceilingOfUser, covers, scopesOfUser } from '../../lib/scopes.ts'
import { SECOND_MS } from '../../lib/time.ts'
import { makeRefreshToken, type RefreshClaims } from '../../lib/tokens.ts'
import { actorOf, type Origin } from '../audit/audit.ts'
import type { ClientRow } from '../clients/rows.ts'
import type { Context } from '../context.ts'
import type { OAuthTokens } from '../oauth/model.ts'
import { identifierOf, lifetimeMs, scopesAllowed } from '../resources/audience.ts'
import type { SessionUser, TokenSession } from '../sessions/tokens.ts'
import type { AskedTarget } from './target.ts'

/** An app's session, as its tokens tell it. */
export type AppSession = TokenSession & {
  id: string
  target: AskedTarget
  client: ClientRow
  user: SessionUser
  /** null: all that the person has. */
  scopes: readonly string[] | null
  identityScopes: readonly string[]
}

/**
 * The scopes that a session of an app has now: its own ∩ the client's, the resource's and the person's; null: all that the
 * person has.
 */
export function scopesNow({ config }: Pick<Context, 'config'>, session: AppSession): string[] | null {
  const { target, client, user, scopes } = session
  // A client that was limited since never gets all that the person has.
  const held = scopes ?? client.scopes
  return held && scopesAllowed(target, client, ceilingOfUser(user, config.userScopes), held)
}

/** What an ID token says besides what the session does. */
export type Identity = { nonce: string | null; email: string; emailVerified: boolean }

/**
 * The answer of the token endpoint to an app: an access token, the refresh token of the next generation, and an ID token.
 * @param scopes of the access token; null: all that the person has
 * @param refresh null: the app gets no refresh token
 * @param identity null: the app gets no ID token, as at a refresh. Without the scope `openid` it gets none either.
 */
export async function issueAppTokens(
  context: Context,
  session: AppSession,
  scopes: readonly string[] | null,
  identityScopes: readonly string[],
  refresh: RefreshClaims | null,
  identity: Identity | null,
): Promise<OAuthTokens> {
  const now = context.clock()
  const { target, client, user } = session
  const expiresAtMs = Math.min(now + lifetimeMs(context.config, target.resource), session.expiresAt.getTime())
  const isUsers = target.audience === 'users'
  const { userScopes } = context.config
  const named =
    scopes ?? scopesOfUser(user, userScopes).filter((scope) => covers(ceilingOfUser(user, userScopes), scope))
  const access = await context.signing.sign({
    subject: user.id,
    audience: identifierOf(context.config, target),
    clientId: client.clientId,
    sessionId: session.id,
    // Only a token for Latchkey's own API has a role, and a narrowed one no other than `user` (docs/decisions/0027).
    role: isUsers ? (scopes === null ? user.role : 'user') : null,
    scopes: target.audience === 'userinfo' ? identityScopes : named,
    isNarrowed: isUsers && scopes !== null,
    authentication: session,
    expiresAtMs,
  })
  const [key] = context.keys.refresh
  if (!key) throw new Error('No key to sign refresh tokens with')
  const idToken =
    identity &&
    identityScopes.includes('openid') &&
    (await context.signing.signIdToken({
      subject: user.id,
      audience: client.clientId,
      nonce: identity.nonce,
      authentication: session,
      address: identityScopes.includes('email') ? identity : null,
      expiresAtMs,
    }))
  return {
    access_token: access,
    token_type: 'bearer',
    expires_in: Math.max(0, Math.floor((expiresAtMs - now) / SECOND_MS)),
    ...(refresh && { refresh_token: makeRefreshToken(key, refresh) }),
    ...(idToken && { id_token: idToken }),
    scope: [...identityScopes, ...named].join(' '),
  }
}

/** An origin whose actor is an app that acts for a person. */
export const asApp = (
  origin: Origin,
  { id, clientId }: Pick<ClientRow, 'id' | 'clientId'>,
  { userId, grantId }: { userId: string; grantId: string },
): Origin => ({ ...origin, actor: actorOf({ kind: 'client', client: { id, clientId, grantId }, userId }) })

/** Whose grant a refusal concerns, in the words of the audit trail. */
export const partiesOf = ({ id, userId }: { id: string; userId: string }) => ({
  user_id: userId,
  grant_id: id,
})
