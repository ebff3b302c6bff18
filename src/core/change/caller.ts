import { timingSafeEqual } from 'node:crypto'
import type { Transaction } from '../../db/database.ts'
import type { Context } from '../context.ts'
import type {
  ClientPrincipal,
  KeyPrincipal,
  PortalPrincipal,
  Principal,
  UserPrincipal,
} from '../principal.ts'
import { decidePortal } from '../verify/decide-portal.ts'
import { decideSession } from '../verify/decide-session.ts'
import { decideSecret } from '../verify/verify-credential.ts'
import { type HeldRows, isTokenRevoked } from './queries.ts'

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
  const verdict = reread(context, caller, held, facts)
  return verdict !== null && 'principal' in verdict ? verdict.principal : null
}

function reread(
  context: Pick<Context, 'config' | 'clock'>,
  caller: Principal,
  held: HeldRows,
  facts: CallerFacts,
) {
  switch (caller.kind) {
    case 'user':
    case 'client':
      return rereadSession(context, caller, held)
    case 'key':
      return rereadKey(context, caller, held, facts)
    case 'portal':
      return rereadPortal(context, caller, held)
  }
}

/** Facts about a calling key that are not in its own rows. */
export type CallerFacts = { isTokenRevoked: boolean }

/**
 * Reads the facts that have no lock of their own. Must be sent after the locks, or it could read a state from before
 * them.
 */
export async function findFacts(tx: Transaction, caller: Principal | null): Promise<CallerFacts> {
  const claims = caller?.kind === 'key' ? caller.claims : null
  return { isTokenRevoked: claims !== null && (await isTokenRevoked(tx, claims.tokenId)) }
}

function rereadSession(
  context: Pick<Context, 'config' | 'clock'>,
  caller: UserPrincipal | ClientPrincipal,
  held: HeldRows,
) {
  const session = held.sessions.get(caller.sessionId)
  const user = held.users.get(caller.userId)
  if (!session || !user) return null
  // A cookie from before the session got another salt is void.
  if (caller.kind === 'user' && caller.cookieSalt && !timingSafeEqual(session.salt, caller.cookieSalt))
    return null
  const signingKey = signingKeyOf(caller, held)
  return decideSession(context, caller.claims, {
    ...session,
    user,
    signingKey,
    grant: (session.grantId && held.oauthGrants.get(session.grantId)) || null,
    client: (caller.client && held.clients.get(caller.client.id)) ?? null,
    resource: (caller.kind === 'client' && resourceOf(caller, held)) || null,
  })
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
    signingKey: signingKeyOf(caller, held),
    resource: resourceOf(caller, held),
    isTokenRevoked: facts.isTokenRevoked,
  })
}

function rereadPortal(
  context: Pick<Context, 'config' | 'clock'>,
  { sessionId, owner, maker }: PortalPrincipal,
  held: HeldRows,
) {
  const session = held.portalSessions.get(sessionId)
  if (!session) return null
  const ownerOfKey = maker.type === 'key' ? maker.owner.id : ''
  return decidePortal(context, {
    session,
    user: held.users.get(owner.id) ?? null,
    serviceAccount: held.serviceAccounts.get(owner.id) ?? null,
    maker: held.users.get(maker.id) ?? null,
    makerKey: held.keys.get(maker.id) ?? null,
    makerUser: held.users.get(ownerOfKey) ?? null,
    makerAccount: held.serviceAccounts.get(ownerOfKey) ?? null,
  })
}

const resourceOf = ({ resource }: KeyPrincipal | ClientPrincipal, held: HeldRows) =>
  (resource?.id && held.resources.get(resource.id)) || null

function signingKeyOf({ claims }: UserPrincipal | ClientPrincipal | KeyPrincipal, held: HeldRows) {
  return (claims?.keyId != null && held.signingKeys.get(claims.keyId)) || null
}
