import type { Context } from '../../context.ts'
import { loadAccessToken } from './load-access-token.ts'
import { loadApiKey } from './load-api-key.ts'
import { type Principal, type Refusal, refuse } from './principal.ts'

export { scopesOfUser } from './load-access-token.ts'

/** Longer than any credential of ours (an access token of fifty scopes has 5,000): what has more is not looked at. */
export const MAX_CREDENTIAL_LENGTH = 8192

/** The principal of a credential that was verified before and is known to be still good; null says nothing. */
export function recallCredential(context: Context, token: string): Principal | null {
  return context.cache.read(cacheKeyOf(token))
}

/**
 * Who is this? The one answer for every door: our own routes, `/keys/verify`, introspection, forward-auth, the
 * command line. A credential that is dead for one of them is dead for all of them, at the same moment.
 * @param token an access token or an API key, as shown
 * @throws only where the database cannot be asked; a bad credential is a value
 */
export async function verifyCredential(context: Context, token: string): Promise<Principal | Refusal> {
  if (token.length > MAX_CREDENTIAL_LENGTH) return refuse('NOT_FOUND')
  const hash = cacheKeyOf(token)
  const known = context.cache.read(hash)
  if (known) return known
  const load = looksLikeJwt(token) ? () => loadAccessToken(context, token) : () => loadApiKey(context, token)
  const loaded = await context.cache.fill<Refusal>(hash, load)
  return 'principal' in loaded ? loaded.principal : loaded
}

function cacheKeyOf(token: string): string {
  return Bun.SHA256.hash(token, 'base64')
}

function looksLikeJwt(token: string): boolean {
  return token.startsWith('eyJ')
}
