import { failToken, Problem } from '../../lib/errors.ts'
import { SECOND_MS } from '../../lib/time.ts'
import { hashToken, isPortalLink, makePortalBearer } from '../../lib/tokens.ts'
import type { Origin } from '../audit/audit.ts'
import { recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { PortalPrincipal } from '../principal.ts'
import { decidePortal } from '../verify/decide-portal.ts'
import { findPortalLink } from '../verify/verify-credential.ts'
import type { PortalAccess } from './model.ts'
import { updateBearer } from './queries.ts'

/**
 * Exchanges the token of a link for the bearer of its session. Of two at once, one gets the bearer.
 * @throws Problem invalid_token, the same for a link that is unknown, used or too old, and for a session that is over
 */
export async function exchangePortalLink(
  context: Context,
  origin: Origin,
  token: string,
): Promise<PortalAccess> {
  const row = isPortalLink(token) ? await findPortalLink(context.db, token) : null
  // Without this a link that is presented again and again would wait for the locks of its owner each time.
  const verdict = row && row.session.bearerHash === null ? decidePortal(context, row) : null
  if (!row || !verdict || !('principal' in verdict)) return failToken()
  const { id } = row.session
  const bearer = makePortalBearer()
  const locks = [['portalSessions', id, 'no key update']] as const
  try {
    return await recordChange(
      context,
      origin,
      verdict.principal,
      locks,
      async ({ tx, held, now, caller }) => {
        const session = held.portalSessions.get(id)
        if (!session || session.bearerHash !== null || session.linkExpiresAt <= now) return failToken()
        await updateBearer(tx, id, hashToken(bearer))
        return presentAccess(context, caller, { bearer, now, returnUrl: session.returnUrl })
      },
    )
  } catch (error) {
    if (error instanceof Problem && error.problem === 'invalid_token') return failToken()
    throw error
  }
}

function presentAccess(
  { config }: Pick<Context, 'config'>,
  { owner, may, grants, endsAt }: PortalPrincipal,
  { bearer, now, returnUrl }: { bearer: string; now: Date; returnUrl: string | null },
): PortalAccess {
  const label = owner.type === 'user' ? owner.email : owner.name
  return {
    access_token: bearer,
    expires_in: Math.floor((endsAt.getTime() - now.getTime()) / SECOND_MS),
    owner: { type: owner.type, id: owner.id, label },
    scopes: [...grants.scopes],
    may: [...may],
    return_url: returnUrl,
    name: config.portalName,
  }
}
