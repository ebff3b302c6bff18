import { fail, failToken } from '../../lib/errors.ts'
import { ceilingOfUser, covers } from '../../lib/scopes.ts'
import type { Origin } from '../audit/audit.ts'
import { namingInAudit } from '../audit/naming.ts'
import type { ClientRow } from '../clients/rows.ts'
import type { Context } from '../context.ts'
import type { OAuthTokens } from '../oauth/model.ts'
import { identifierOf } from '../resources/audience.ts'
import { exchangeRefresh } from '../sessions/sessions.ts'
import { requireGrantType } from './client-authentication.ts'
import { type ClientSessionFacts, findClientSession, touchGrant } from './queries.ts'
import { splitScopes } from './target.ts'
import { type AppSession, asApp, issueAppTokens, partiesOf, scopesNow } from './tokens.ts'

/** What an app presents to refresh. */
export type PresentedRefresh = { token: string; scope: string | undefined; resource: string | null }

/**
 * Exchanges the refresh token of an app's session. Everything is checked before the token is exchanged, so that a refusal
 * does not use it up.
 * @throws Problem unauthorized_client, invalid_token, invalid_target, invalid_scope, access_denied
 */
export async function refreshClientSession(
  context: Context,
  origin: Origin,
  client: ClientRow,
  sessionId: string,
  presented: PresentedRefresh,
): Promise<OAuthTokens> {
  const facts = await findClientSession(context.db, sessionId)
  if (!facts) return failToken()
  return namingInAudit(partiesOf(facts.grant), () => refreshFound(context, origin, client, presented, facts))
}

async function refreshFound(
  context: Context,
  origin: Origin,
  client: ClientRow,
  { token, scope, resource }: PresentedRefresh,
  facts: ClientSessionFacts,
): Promise<OAuthTokens> {
  if (facts.client.id !== client.id || !facts.user.isActive) return failToken()
  requireGrantType(client, 'refresh_token')
  const { session: row, grant, user } = facts
  const target = { audience: grant.audience, resource: facts.resource }
  if (resource !== null && resource !== identifierOf(context.config, target)) fail('invalid_target')
  if (grant.audience === 'resource' && !facts.resource?.isActive) fail('invalid_target')
  // The app is no longer one of ours.
  if (grant.audience === 'users' && !client.firstParty) return failToken()
  const session: AppSession = { ...row, target, client, user }
  const now = scopesNow(context, session)
  const narrowed = narrow(context, session, now, scope)
  if (
    row.scopes !== null &&
    row.scopes.length > 0 &&
    narrowed.scopes?.length === 0 &&
    narrowed.identityScopes.length === 0
  )
    fail('access_denied', { detail: 'None of the scopes is left.' })
  const by = asApp(origin, client, { userId: user.id, grantId: grant.id })
  const { next } = await exchangeRefresh(context, by, token, 'client')
  await touchGrant(context.db, grant.id, new Date(context.clock()))
  return issueAppTokens(context, session, narrowed.scopes, narrowed.identityScopes, next, null)
}

/**
 * The scopes of the next access token: those asked for, of those that the session has. The session keeps all.
 * @throws Problem invalid_scope where more is asked for
 */
function narrow(
  { config }: Pick<Context, 'config'>,
  session: AppSession,
  now: readonly string[] | null,
  scope: string | undefined,
) {
  const asked = splitScopes(scope)
  if (asked.scopes.length === 0 && asked.identityScopes.length === 0) {
    return { scopes: now, identityScopes: session.identityScopes }
  }
  // Of a session for all that the person has, too: a service may believe what a token says.
  const ceiling = ceilingOfUser(session.user, config.userScopes)
  const isWithin =
    asked.scopes.every((name) => session.scopes?.includes(name) ?? covers(ceiling, name)) &&
    asked.identityScopes.every((name) => session.identityScopes.includes(name))
  if (!isWithin) fail('invalid_scope')
  const left = now === null ? asked.scopes : asked.scopes.filter((name) => now.includes(name))
  return { scopes: left, identityScopes: asked.identityScopes }
}
