import type { Context } from '../context.ts'
import { type Principal, type Refusal, refuse } from '../principal.ts'
import { loadAccessToken } from './load-access-token.ts'
import { loadApiKey } from './load-api-key.ts'

export { scopesOfUser } from './load-access-token.ts'

/** Longer than any credential of ours (an access token of fifty scopes has 5,000): what has more is not looked at. */
export const MAX_CREDENTIAL_LENGTH = 8192

/** The principal of a credential that was verified before and is known to be still good; null says nothing. */
export function recallCredential(context: Context, token: string): Principal | null {
  const principal = context.cache.read(cacheKeyOf(token))
  if (principal) context.metrics.verifications.VALID += 1
  return principal
}

/**
 * Who is this? The one answer for every door: our own routes, `/keys/verify`, introspection, forward-auth, the
 * command line. A credential that is dead for one of them is dead for all of them, at the same moment.
 * @param token an access token or an API key, as shown
 * @throws only where the database cannot be asked; a bad credential is a value
 */
export async function verifyCredential(context: Context, token: string): Promise<Principal | Refusal> {
  const known = recallCredential(context, token)
  if (known) return known
  const verdict = token.length > MAX_CREDENTIAL_LENGTH ? refuse('NOT_FOUND') : await load(context, token)
  context.metrics.verifications[verdict.kind === 'refused' ? verdict.code : 'VALID'] += 1
  return verdict
}

async function load(context: Context, token: string): Promise<Principal | Refusal> {
  const load = looksLikeJwt(token) ? () => loadAccessToken(context, token) : () => loadApiKey(context, token)
  const loaded = await context.cache.fill<Refusal>(cacheKeyOf(token), load)
  return 'principal' in loaded ? loaded.principal : loaded
}

function cacheKeyOf(token: string): string {
  return Bun.SHA256.hash(token, 'base64')
}

function looksLikeJwt(token: string): boolean {
  return token.startsWith('eyJ')
}
