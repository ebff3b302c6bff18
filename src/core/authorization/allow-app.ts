import { fail } from '../../lib/errors.ts'
import { ceilingOfUser } from '../../lib/scopes.ts'
import type { Origin } from '../audit/audit.ts'
import { type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { ClientRow } from '../clients/rows.ts'
import type { Context } from '../context.ts'
import { allow, type GrantRow, locksOfGrant } from '../grants/grants.ts'
import type { UserPrincipal } from '../principal.ts'
import { scopesAllowed } from '../resources/audience.ts'
import { type Asked, type AskedTarget, isIdentityScope } from './target.ts'

/** What a person allows a client. */
export type Consent = {
  client: ClientRow
  /** As far as the person may grant it. */
  asked: Asked
  /** Whether the client may still be answered, by its row as it is then. */
  mayAnswer(client: ClientRow): boolean
  /** Whether the person need not be asked, by what was allowed before as it is then. */
  isAllowed(grant: GrantRow | null): boolean
  /** What the person allowed before, and unticked now. */
  removed: readonly string[]
}

/** What was allowed. `scopes`: of the target; null: all that the person has. */
export type AllowedGrant = { grantId: string; scopes: string[] | null; identityScopes: string[] }

/**
 * Writes down what a person allows a client, and does further work of the same transaction.
 * @param caller of the browser session
 * @param work writes how the client comes to its tokens
 * @returns null where it is no longer allowed
 * @throws Problem access_denied, invalid_target, unauthorized_client where it changed meanwhile
 */
export async function allowApp<T>(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  { client, asked, mayAnswer, isAllowed, removed }: Consent,
  work: (change: Change<UserPrincipal>, allowed: AllowedGrant) => Promise<T>,
): Promise<T | null> {
  const { target } = asked
  const parties = { userId: caller.userId, clientId: client.id, target }
  const locks = async (): Promise<Lock[]> => [
    ['clients', client.id, 'share'],
    ...(target.resource ? ([['resources', target.resource.id, 'share']] as const) : []),
    ...(await locksOfGrant(context, parties)),
  ]
  return recordChange(context, origin, caller, locks, async (change) => {
    const { held } = change
    const present = held.clients.get(client.id)
    const resource = target.resource && (held.resources.get(target.resource.id) ?? null)
    if (!present?.isActive) fail('unauthorized_client')
    if (target.audience === 'resource' && !resource?.isActive) fail('invalid_target')
    if (!mayAnswer(present)) fail('unauthorized_client')
    // The app is no longer one of ours.
    if (target.audience === 'users' && !present.firstParty) fail('unauthorized_client')
    const before = [...held.oauthGrants.values()].find((grant) => isOf(grant, parties)) ?? null
    if (!isAllowed(before)) return null
    const user = held.users.get(caller.userId)
    if (!user) fail('access_denied')
    const ceiling = ceilingOfUser(user, context.config.userScopes)
    const scopes = asked.scopes && scopesAllowed({ ...target, resource }, present, ceiling, asked.scopes)
    const identityScopes = [...asked.identityScopes]
    const all = [...identityScopes, ...(scopes ?? [])]
    const grantId = await allow(change, { ...parties, scopes: all, removed })
    return work(change, { grantId, scopes, identityScopes })
  })
}

const isOf = (grant: GrantRow, parties: { userId: string; clientId: string; target: AskedTarget }): boolean =>
  grant.userId === parties.userId &&
  grant.clientId === parties.clientId &&
  grant.audience === parties.target.audience &&
  grant.resourceId === (parties.target.resource?.id ?? null)

/** The scopes of OpenID Connect among some, and the others. */
export const partScopes = (scopes: readonly string[]) => ({
  identityScopes: scopes.filter(isIdentityScope),
  scopes: scopes.filter((scope) => !isIdentityScope(scope)),
})
