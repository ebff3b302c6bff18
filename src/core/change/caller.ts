import type { Transaction } from '../../db/database.ts'
import type { Context } from '../context.ts'
import type { KeyPrincipal, Principal, UserPrincipal } from '../principal.ts'
import { decideSecret, decideSession } from '../verify/verify-credential.ts'
import { type HeldRows, hasCredits, isTokenRevoked } from './queries.ts'

/**
 * The caller according to the rows that are locked now, decided as in any other verification. null: the credential is
 * no longer valid.
 * @param facts from `findFacts`, which runs in the same round trip as the locks
 */
export function rereadCaller(
  context: Pick<Context, 'config' | 'clock'>,
  caller: Principal,
  held: HeldRows,
  facts: CallerFacts,
): Principal | null {
  const verdict =
    caller.kind === 'user' ? rereadUser(context, caller, held) : rereadKey(context, caller, held, facts)
  return verdict !== null && 'principal' in verdict ? verdict.principal : null
}

/** Facts about a calling key that are not in its own rows. */
export type CallerFacts = { hasCredits: boolean; isTokenRevoked: boolean }

/**
 * Reads the facts that have no lock of their own. Must be sent after the locks, or it could read a state from before
 * them.
 */
export async function findFacts(tx: Transaction, caller: Principal | null): Promise<CallerFacts> {
  if (caller?.kind !== 'key') return { hasCredits: false, isTokenRevoked: false }
  const [credits, revoked] = await Promise.all([
    hasCredits(tx, caller.keyId),
    caller.claims ? isTokenRevoked(tx, caller.claims.tokenId) : false,
  ])
  return { hasCredits: credits, isTokenRevoked: revoked }
}

function rereadUser(context: Pick<Context, 'config' | 'clock'>, caller: UserPrincipal, held: HeldRows) {
  const session = held.sessions.get(caller.sessionId)
  const user = held.users.get(caller.userId)
  if (!session || !user) return null
  const signingKey = signingKeyOf(caller, held)
  return decideSession(context, caller.claims, { ...session, user, signingKey })
}

function rereadKey(
  context: Pick<Context, 'config' | 'clock'>,
  caller: KeyPrincipal,
  held: HeldRows,
  facts: CallerFacts,
) {
  const secret = held.secrets.get(caller.secretId)
  const key = held.keys.get(caller.keyId)
  if (!secret || secret.endedAt !== null || !key) return null
  return decideSecret(context, caller.claims, {
    secretId: secret.id,
    secretExpiresAt: secret.expiresAt,
    key,
    user: held.users.get(caller.owner.id) ?? null,
    serviceAccount: held.serviceAccounts.get(caller.owner.id) ?? null,
    creditsOf: facts.hasCredits ? key.id : null,
    signingKey: signingKeyOf(caller, held),
    isTokenRevoked: facts.isTokenRevoked,
  })
}

function signingKeyOf({ claims }: Principal, held: HeldRows) {
  return (claims?.keyId != null && held.signingKeys.get(claims.keyId)) || null
}
