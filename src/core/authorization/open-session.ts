import { fail } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import type { Origin } from '../audit/audit.ts'
import type { Caller, Change, Lock } from '../change/record-change.ts'
import type { ClientRow } from '../clients/rows.ts'
import type { Context } from '../context.ts'
import { type GrantRow, updateGrant } from '../grants/grants.ts'
import type { OAuthTokens } from '../oauth/model.ts'
import { lifetimeMs } from '../resources/audience.ts'
import type { ResourceRow } from '../resources/rows.ts'
import { isEnrolmentDue } from '../second-factors/enrolment.ts'
import { openClientSession } from '../sessions/sessions.ts'
import { type AppSession, type Identity, issueAppTokens, scopesNow } from './tokens.ts'

/** What a new session of an app stands on. `sessionId`: the browser session of the person who allowed it. */
export type Basis = {
  client: ClientRow
  grant: GrantRow
  resource: ResourceRow | null
  sessionId: string
}

/** What a new session of an app may do. `scopes`: null: all that the person has. */
type Wanted = {
  scopes: readonly string[] | null
  identityScopes: readonly string[]
  nonce: string | null
}

/** A new session of an app, whose tokens are not made yet. */
export type OpenedSession = { session: AppSession; identity: Identity; salt: Uint8Array }

/** The locks of opening a session of an app. */
export const locksOfOpening = ({ client, grant, resource, sessionId }: Basis): Lock[] => [
  ['users', grant.userId, 'share'],
  ['clients', client.id, 'share'],
  ...(resource ? ([['resources', resource.id, 'share']] as const) : []),
  ['oauthGrants', grant.id, 'no key update'],
  ['sessionsOfGrant', grant.id, 'no key update'],
  ['sessions', sessionId, 'share'],
]

/**
 * Opens a session of an app, as part of a change with `locksOfOpening`.
 * @param by the app
 * @returns null where something that it would stand on is over
 * @throws Problem mfa_enrolment_required
 */
export async function openAppSession(
  context: Context,
  change: Pick<Change<Caller>, 'tx' | 'held' | 'now' | 'record'>,
  by: Origin,
  { client, grant, resource, sessionId }: Basis,
  { scopes, identityScopes, nonce }: Wanted,
): Promise<OpenedSession | null> {
  const { tx, held, now } = change
  const user = held.users.get(grant.userId)
  const browser = held.sessions.get(sessionId)
  const isLive =
    browser !== undefined &&
    browser.endedAt === null &&
    browser.expiresAt > now &&
    browser.idleExpiresAt > now
  const isGood =
    held.oauthGrants.has(grant.id) &&
    user?.isActive === true &&
    mayHold(held.clients.get(client.id), grant) &&
    (resource === null || held.resources.get(resource.id)?.isActive === true)
  if (!user || !browser || !isLive || !isGood) return null
  // A code, or a device's yes, from before that was asked: it stays as it is.
  if (isEnrolmentDue(context.config, user)) fail('mfa_enrolment_required')
  const { authTime, amr } = browser
  const target = { audience: grant.audience, resource }
  const made = { id: newId(), salt: crypto.getRandomValues(new Uint8Array(16)) }
  const opened = { ...made, userId: user.id, grantId: grant.id, authTime, amr, scopes, identityScopes }
  const idleExpiresAt = hasRefresh(client)
    ? null
    : new Date(now.getTime() + lifetimeMs(context.config, resource))
  const expiresAt = await openClientSession(context, change, by, { ...opened, idleExpiresAt })
  await updateGrant(tx, grant.id, { lastUsedAt: now })
  return {
    session: { id: made.id, target, client, user, scopes, identityScopes, authTime, amr, expiresAt },
    identity: { nonce, email: user.email, emailVerified: user.emailVerified },
    salt: made.salt,
  }
}

/** Whether an app may have a session under a grant now. Only one of ours gets the tokens of users. */
const mayHold = (client: ClientRow | undefined, { audience }: GrantRow): boolean =>
  client?.isActive === true && (audience !== 'users' || client.firstParty)

/** The first tokens of a new session of an app. */
export function issueFirstTokens(
  context: Context,
  { session, identity, salt }: OpenedSession,
): Promise<OAuthTokens> {
  const refresh = hasRefresh(session.client) ? { sessionId: session.id, generation: 0, salt } : null
  const { identityScopes } = session
  return issueAppTokens(context, session, scopesNow(context, session), identityScopes, refresh, identity)
}

const hasRefresh = ({ grants }: ClientRow): boolean => grants.includes('refresh_token')
