import { findKnownClient } from '../authorization/resolve-client.ts'
import type { Context } from '../context.ts'
import { isAuthorizationServer } from '../oauth/authorization-server.ts'

/** What an app asks for at the end (OpenID Connect RP-Initiated Logout, section 2). */
export type LogoutRequest = {
  idTokenHint: string | null
  clientId: string | null
  redirectUri: string | null
  state: string | null
}

/** Where a person may go afterwards. `isProven`: the app speaks of this person, by an ID token of theirs. */
export type AfterLogout = { clientId: string; name: string; place: string; isProven: boolean }

/**
 * Where a person goes who is signed out at the request of an app. The app is that of the ID token; without one, that which
 * the request names. An ID token of another app than the named one proves nothing.
 * @param userId of the browser session; null: no person is signed in
 * @returns null where the app may not send people there
 */
export async function findPlaceAfterLogout(
  context: Context,
  userId: string | null,
  { idTokenHint, clientId: named, redirectUri, state }: LogoutRequest,
): Promise<AfterLogout | null> {
  if (redirectUri === null || !isAuthorizationServer(context.config)) return null
  const hint = idTokenHint === null ? null : await context.signing.readIdToken(idTokenHint)
  if (idTokenHint !== null && (hint === null || (named !== null && named !== hint.clientId))) return null
  const clientId = hint?.clientId ?? named
  const client = clientId === null ? null : await findKnownClient(context, clientId)
  if (!client?.postLogoutRedirectUris.includes(redirectUri)) return null
  const place = new URL(redirectUri)
  if (state !== null) place.searchParams.set('state', state)
  const isProven = hint !== null && hint.subject === userId
  return { clientId: client.clientId, name: client.name, place: place.href, isProven }
}
