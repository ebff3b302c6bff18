import { fail } from '../../lib/errors.ts'
import { ceilingOfUser, isReserved, parseScopes } from '../../lib/scopes.ts'
import type { ClientRow } from '../clients/rows.ts'
import type { Context } from '../context.ts'
import { identifierOf, scopesAllowed, type Target } from '../resources/audience.ts'
import { findResourceByIdentifier, type ResourceRow } from '../resources/rows.ts'
import type { SessionUser } from '../sessions/tokens.ts'

/** Accepted, and neither needed nor shown. */
const OFFLINE_ACCESS = 'offline_access'

/** The scopes of OpenID Connect, which belong to no resource. */
export const IDENTITY_SCOPES = ['openid', 'email', 'profile']
/** Whether a scope is one of them. */
export const isIdentityScope = (scope: string): boolean => IDENTITY_SCOPES.includes(scope)

/** For what a token is asked. */
export type AskedTarget = Target & { resource: ResourceRow | null }

/**
 * What is asked for. `scopes`: of the target; null: all that the person has, of a first-party app at Latchkey's own API.
 */
export type Asked = {
  target: AskedTarget
  scopes: readonly string[] | null
  identityScopes: readonly string[]
}

/** The scopes of a text, in those of the target and those of OpenID Connect. */
export function splitScopes(text: string | undefined): { scopes: string[]; identityScopes: string[] } {
  const all = parseScopes(text)
  if ('fault' in all) fail('invalid_scope', { detail: all.fault })
  return {
    scopes: all.filter((scope) => scope !== OFFLINE_ACCESS && !isIdentityScope(scope)),
    identityScopes: all.filter(isIdentityScope),
  }
}

/**
 * For what a client asks, by `resource` and `scope` (oauth.md, section 2). Whether the person may grant it is not decided
 * here: `grantable`.
 * @throws Problem invalid_target, invalid_scope
 */
export async function readAsked(
  context: Context,
  client: ClientRow,
  { resource: identifiers, scope }: { resource: readonly string[]; scope: string | undefined },
): Promise<Asked> {
  const [identifier, another] = identifiers
  if (another !== undefined) fail('invalid_target', { detail: 'Name one resource.' })
  const { scopes, identityScopes } = splitScopes(scope)
  if (identifier === undefined) return readOwnAsked(client, scopes, identityScopes)
  if (identifier === identifierOf(context.config, { audience: 'latchkey', resource: null })) {
    const own = client.source === 'registered' && client.scopes?.some(isReserved)
    if (!own) fail('invalid_scope', { detail: 'This client may have no scope of Latchkey itself.' })
    const isOutside = scopes.some((name) => isReserved(name) && !client.scopes?.includes(name))
    if (isOutside) fail('invalid_scope')
    const target = { audience: 'latchkey', resource: null } as const
    const isLeftOut = scopes.length === 0 && identityScopes.length === 0
    return { target, scopes: isLeftOut ? (client.scopes ?? []) : scopes, identityScopes }
  }
  const resource = await findResourceByIdentifier(context.db, identifier)
  // A service could take a token for JWT_AUDIENCE for a person's own.
  if (!resource?.isActive || identifier === context.config.jwtAudience) fail('invalid_target')
  const unknown = scopes.find((name) => !resource.scopes.some((each) => each.name === name))
  if (unknown !== undefined) fail('invalid_scope', { detail: `The resource has no scope ${unknown}.` })
  const everyones = resource.scopes.filter((each) => each.grantable_by === 'everyone').map(({ name }) => name)
  const isLeftOut = scopes.length === 0 && identityScopes.length === 0
  const target = { audience: 'resource', resource } as const
  return { target, scopes: isLeftOut ? everyones : scopes, identityScopes }
}

/** What is asked for without a resource. */
function readOwnAsked(client: ClientRow, scopes: string[], identityScopes: string[]): Asked {
  if (client.firstParty) {
    // A client that is limited never gets all that the person has.
    const all = client.scopes === null ? null : client.scopes
    const target = { audience: 'users', resource: null } as const
    return { target, scopes: scopes.length === 0 ? all : scopes, identityScopes }
  }
  if (!identityScopes.includes('openid'))
    fail('invalid_target', { detail: 'Name a resource, or ask for openid.' })
  if (scopes.length > 0) fail('invalid_scope', { detail: 'Name the resource to which these scopes belong.' })
  return { target: { audience: 'userinfo', resource: null }, scopes: [], identityScopes }
}

/**
 * Those of the scopes that the client may have and the person may grant, now; null: all that the person has.
 * @throws Problem access_denied where scopes are asked for and none is left
 */
export function grantable(
  { config }: Pick<Context, 'config'>,
  client: ClientRow,
  user: SessionUser,
  { target, scopes, identityScopes }: Asked,
): string[] | null {
  if (scopes === null) return null
  const left = scopesAllowed(target, client, ceilingOfUser(user, config.userScopes), scopes)
  if (scopes.length > 0 && left.length === 0 && identityScopes.length === 0) {
    fail('access_denied', { detail: 'None of these scopes is left for this client and this person.' })
  }
  return left
}
