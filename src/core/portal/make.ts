import type { Config } from '../../config/config.ts'
import { isLoopback } from '../../config/network.ts'
import { fail, failField } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import { RESERVED_PREFIX, requireScopes } from '../../lib/scopes.ts'
import { MINUTE_MS, SECOND_MS } from '../../lib/time.ts'
import { hashToken, makePortalLink } from '../../lib/tokens.ts'
import type { Origin } from '../audit/audit.ts'
import { recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { requireLimitsKeptInPortal } from '../keys/rate-root.ts'
import { ownerColumns } from '../owners.ts'
import { idOf, PORTAL_POWERS, type PortalPower } from '../principal.ts'
import { requireGrants } from '../verify/problems.ts'
import { locksOfShown, type PortalMaker, readOwner, requireOwner } from './choose-owner.ts'
import {
  DEFAULT_EXPIRES_IN_SECONDS,
  MAX_RETURN_URL_LENGTH,
  type NewPortalSession,
  type PortalSession,
} from './model.ts'
import { insertPortalSession } from './queries.ts'

const LINK_LASTS_MS = 5 * MINUTE_MS

/**
 * Makes a portal session: a customer then sees, and as far as `may` says manages, the keys of one owner.
 * @returns the link for the customer, which works once
 * @throws Problem validation_failed, forbidden (also where the limits of the key that calls would not hold for what the session
 * makes), insufficient_scope, not_found, conflict where the owner is disabled
 */
export async function makePortalSession(
  context: Context,
  origin: Origin,
  caller: PortalMaker,
  input: NewPortalSession,
): Promise<PortalSession> {
  const scopes = requireScopes('/scopes', input.scopes)
  const may = readPowers(input.may)
  const returnUrl = readReturnUrl(context.config, input.return_url)
  const owner = await readOwner(context, caller, input)
  requireScopesFor(caller, scopes)
  if (makesSecrets(may)) requireLimitsKeptInPortal(caller, owner)
  const id = newId()
  const token = makePortalLink()
  const lastsMs = (input.expires_in_seconds ?? DEFAULT_EXPIRES_IN_SECONDS) * SECOND_MS

  const expiresAt = await recordChange(context, origin, caller, locksOfShown(owner), async (change) => {
    const { tx, now, record } = change
    requireOwner(change, owner)
    requireScopesFor(change.caller, scopes)
    if (makesSecrets(may)) requireLimitsKeptInPortal(change.caller, owner)
    const expiresAt = endOf(change.caller, now, lastsMs)
    await insertPortalSession(tx, {
      ...ownerColumns(owner),
      id,
      madeByUser: caller.kind === 'user' ? caller.userId : null,
      madeByKey: caller.kind === 'key' ? caller.keyId : null,
      scopes,
      may,
      returnUrl,
      linkHash: hashToken(token),
      linkExpiresAt: endOf(change.caller, now, Math.min(lastsMs, LINK_LASTS_MS)),
      createdAt: now,
      expiresAt,
    })
    const maker = { type: caller.kind, id: idOf(caller) }
    const details = { maker, owner, scopes, may, expires_at: expiresAt.toISOString() }
    await record({ action: 'portal.session_created', target: { type: 'portal_session', id }, details })
    return expiresAt
  })
  return { id, url: `${context.config.publicUrl}/portal#${token}`, expires_at: expiresAt.toISOString() }
}

/** The end of a session or link. What a key makes ends no later than the key. */
function endOf(caller: PortalMaker, now: Date, lastsMs: number): Date {
  const keyEndsMs = caller.kind === 'key' ? caller.keyExpiresAt?.getTime() : undefined
  return new Date(Math.min(now.getTime() + lastsMs, keyEndsMs ?? Infinity))
}

/** Whether a session shows secrets of keys, whose uses do not count against the limits of the key that makes the session. */
const makesSecrets = (may: readonly PortalPower[]): boolean =>
  may.includes('create') || may.includes('rotate')

/** Each power includes `read`. */
function readPowers(asked: readonly PortalPower[] = []): PortalPower[] {
  return PORTAL_POWERS.filter((power) => power === 'read' || asked.includes(power))
}

/**
 * A customer's keys hold what the maker could grant, and never a scope of Latchkey's own.
 * @throws Problem insufficient_scope
 */
function requireScopesFor(caller: PortalMaker, scopes: readonly string[]): void {
  const reserved = scopes.find((scope) => scope.startsWith(RESERVED_PREFIX))
  if (reserved !== undefined)
    fail('insufficient_scope', { detail: `No portal session grants a scope of Latchkey's own: ${reserved}` })
  requireGrants(caller, scopes)
}

/**
 * The page of the product to which the portal leads back.
 * @throws Problem validation_failed for anything but https (http on loopback) and an origin that the settings name
 */
function readReturnUrl({ publicUrl, portalReturnOrigins }: Config, text: string | undefined): string | null {
  if (text === undefined) return null
  const url = URL.parse(text)
  const isSafe =
    url?.protocol === 'https:' ||
    (url?.protocol === 'http:' && isLoopback(url.hostname.replace(/^\[|\]$/g, '')))
  if (!url || !isSafe || url.username !== '' || url.password !== '')
    return failField('/return_url', 'Must be a URL with https, without a user and a password')
  const allowed = [...portalReturnOrigins, new URL(publicUrl).origin]
  if (!allowed.includes(url.origin))
    return failField('/return_url', 'Must have an origin that PORTAL_RETURN_ORIGINS names')
  // Characters that a URL does not take are written as three or more each.
  if (url.href.length > MAX_RETURN_URL_LENGTH)
    return failField(
      '/return_url',
      `Must have at most ${MAX_RETURN_URL_LENGTH} characters as a URL writes them`,
    )
  return url.href
}
