import { findClientByClientId } from '../clients/rows.ts'
import type { Context } from '../context.ts'

/** What an app asks for at the end (OpenID Connect RP-Initiated Logout, section 2). */
export type LogoutRequest = { idTokenHint: string | null; redirectUri: string | null; state: string | null }

/**
 * Where a person goes who is signed out at the request of an app.
 * @param userId of the browser session
 * @returns null where the app does not prove that it speaks of that person, or may not send people there: a page asks
 */
export async function placeAfterLogout(
  context: Context,
  userId: string,
  { idTokenHint, redirectUri, state }: LogoutRequest,
): Promise<string | null> {
  if (idTokenHint === null || redirectUri === null) return null
  const hint = await context.signing.readIdToken(idTokenHint)
  if (hint?.subject !== userId) return null
  const client = await findClientByClientId(context.db, hint.clientId)
  if (!client?.isActive || !client.postLogoutRedirectUris.includes(redirectUri)) return null
  const place = new URL(redirectUri)
  if (state !== null) place.searchParams.set('state', state)
  return place.href
}
