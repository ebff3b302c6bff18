import type { Context } from '../context.ts'
import type { ClientPrincipal, SessionClient, UserPrincipal } from '../principal.ts'
import { identifierOf } from '../resources/audience.ts'
import type { AccessClaims } from '../signing/claims.ts'
import { decideSession } from './decide-session.ts'
import { verifyQueriesOf } from './queries.ts'

/**
 * What an app would get an access token for now, by its session.
 * @returns null where the session has ended, or where what the person allowed, the app or the resource is gone
 */
export async function findAppOfSession(
  context: Context,
  { sessionId, userId }: { sessionId: string; userId: string },
): Promise<ClientPrincipal | (UserPrincipal & { client: SessionClient }) | null> {
  const [row] = await verifyQueriesOf(context.db).findSession.execute({
    sessionId,
    userId,
    signingKeyId: null,
  })
  if (!row?.grant || !row.client) return null
  const target = { audience: row.grant.audience, resource: row.resource }
  if (target.audience === 'resource' && target.resource === null) return null
  const claims: AccessClaims = {
    tokenId: '',
    subject: userId,
    audience: identifierOf(context.config, target),
    clientId: row.client.clientId,
    sessionId,
    isOfKey: false,
    isNarrowed: row.scopes !== null,
    scopes: (target.audience === 'userinfo' ? row.identityScopes : row.scopes) ?? [],
    expiresAtMs: row.expiresAt.getTime(),
    keyId: null,
  }
  const decided = decideSession(context, claims, row)
  if (!('principal' in decided)) return null
  const { principal } = decided
  if (principal.kind === 'client') return principal
  return principal.kind === 'user' && principal.client ? { ...principal, client: principal.client } : null
}
