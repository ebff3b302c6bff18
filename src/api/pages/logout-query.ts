import type { LogoutRequest } from '../../core/openid/logout.ts'
import { textOf } from './forms.ts'

/** What an app asks for at the end of a session. A parameter that is there twice is missing. */
export const readLogout = (query: Readonly<Record<string, unknown>>): LogoutRequest => ({
  idTokenHint: textOf(query.id_token_hint),
  clientId: textOf(query.client_id),
  redirectUri: textOf(query.post_logout_redirect_uri),
  state: textOf(query.state),
})

/** The same for the pages that follow, without the ID token, which names the person. */
export function logoutQuery({ clientId, redirectUri, state }: LogoutRequest): string {
  const members = { client_id: clientId, post_logout_redirect_uri: redirectUri, state }
  const given = Object.entries(members).filter((entry): entry is [string, string] => entry[1] !== null)
  return given.length === 0 ? '' : `?${new URLSearchParams(given)}`
}
