import { type Ceiling, ceilingOfList, covers, PORTAL } from '../../lib/scopes.ts'
import type { Context } from '../context.ts'
import { ownerOfRow } from '../owners.ts'
import { type PortalMaker, type PortalPrincipal, type Refusal, refuse } from '../principal.ts'
import type { Verified } from './cache.ts'
import { describeOwner, type OwnerFacts } from './describe-owner.ts'
import type { VerifyQueries } from './queries.ts'

/** The rows that decide about a portal session: itself, its owner, and the admin or the key that made it. */
export type PortalFacts = Awaited<ReturnType<VerifyQueries['findPortalSession']['execute']>>[number]

/**
 * Decides whether a portal session is good now, and for what. It ends with its owner and with its maker: the key that made
 * it, whichever of that key's secrets was presented then, or the admin's being an active admin (console.md, section 4.4).
 */
export function decidePortal(
  context: Pick<Context, 'config' | 'clock'>,
  row: PortalFacts,
): (Verified & { principal: PortalPrincipal }) | Refusal {
  const { session } = row
  if (session.endedAt) return refuse('REVOKED')
  const made = describeMaker(context, row)
  if (!made) return refuse('REVOKED')
  const endsAtMs = Math.min(session.expiresAt.getTime(), made.endsAtMs)
  if (endsAtMs <= context.clock()) return refuse('EXPIRED')
  const owner = describeOwner(context, session, row)
  // A session is never made for an admin, and does not go on for a user who becomes one.
  if (!owner?.isActive || ('role' in owner.shown && owner.shown.role === 'admin'))
    return refuse('OWNER_DISABLED')

  const { maker, ceiling } = made
  const granted = session.scopes.filter((scope) => covers(owner.ceiling, scope) && covers(ceiling, scope))
  const principal: PortalPrincipal = {
    kind: 'portal',
    sessionId: session.id,
    maker,
    owner: owner.shown,
    may: session.may,
    scopes: session.scopes,
    grants: ceilingOfList(granted),
    endsAt: new Date(endsAtMs),
  }
  return { principal, validUntilMs: endsAtMs }
}

type Made = { maker: PortalMaker; endsAtMs: number; ceiling: Ceiling }

/** Who made a session, and what the maker may grant now; null where the maker could make no session now. */
function describeMaker(context: Pick<Context, 'config' | 'clock'>, row: PortalFacts): Made | null {
  const { session, maker, makerKey } = row
  if (session.madeByUser !== null) {
    if (!maker?.isActive || maker.role !== 'admin') return null
    const ceiling = { everything: true, reserved: true, scopes: [] }
    return { maker: { type: 'user', id: session.madeByUser }, endsAtMs: Infinity, ceiling }
  }
  if (!makerKey || makerKey.revokedAt || !makerKey.isActive) return null
  const owner: OwnerFacts = { user: row.makerUser, serviceAccount: row.makerAccount }
  const described = describeOwner(context, makerKey, owner)
  if (!described?.isActive) return null
  const scopes = makerKey.scopes.filter((scope) => covers(described.ceiling, scope))
  if (!scopes.includes(PORTAL)) return null
  return {
    maker: { type: 'key', id: makerKey.id, owner: ownerOfRow(makerKey) },
    endsAtMs: makerKey.expiresAt?.getTime() ?? Infinity,
    ceiling: ceilingOfList(scopes),
  }
}
