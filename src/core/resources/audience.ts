import type { Config } from '../../config/config.ts'
import type { ResourceScope, TokenAudience } from '../../db/oauth.ts'
import { type Ceiling, covers, isReserved } from '../../lib/scopes.ts'
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../lib/time.ts'

/** The slug of Latchkey's own resource. */
export const OWN_SLUG = 'latchkey'

/** For what a token is made: a resource, or a part of Latchkey itself. */
export type Target = { audience: TokenAudience; resource: ResourceFacts | null }

/** The columns of a resource that decide what a token for it does. */
export type ResourceFacts = {
  id: string
  identifier: string
  slug: string
  isActive: boolean
  scopes: readonly ResourceScope[]
}

/** The columns of a client that decide what its tokens do. */
export type ClientFacts = {
  source: 'registered' | 'metadata' | 'dynamic'
  scopes: readonly string[] | null
}

/** The `aud` of a token that is made for a target. */
export function identifierOf(
  { publicUrl, jwtAudience }: Pick<Config, 'publicUrl' | 'jwtAudience'>,
  { audience, resource }: { audience: TokenAudience; resource: Pick<ResourceFacts, 'identifier'> | null },
): string {
  switch (audience) {
    case 'users':
      return jwtAudience
    case 'latchkey':
      return `${publicUrl}/${OWN_SLUG}`
    case 'userinfo':
      return `${publicUrl}/oauth/userinfo`
    case 'resource':
      if (resource === null) throw new Error('A target that names no resource')
      return resource.identifier
  }
}

/**
 * Those of some scopes that a client may hold for a target, for a person with this ceiling: as target, client and person
 * are now (oauth.md, section 2). The scopes of OpenID Connect belong to none of the three, and are not among them.
 */
export function scopesAllowed(
  target: Target,
  client: ClientFacts,
  ceiling: Ceiling,
  scopes: readonly string[],
): string[] {
  return scopes.filter(
    (scope) => isAllowedByClient(client, scope) && isAllowedByTarget(target, client, ceiling, scope),
  )
}

/** Only a client that an admin registered, and whose scopes name it, gets a scope of Latchkey's own. */
function isAllowedByClient({ source, scopes }: ClientFacts, scope: string): boolean {
  if (isReserved(scope)) return source === 'registered' && scopes !== null && scopes.includes(scope)
  return scopes === null || scopes.includes(scope)
}

function isAllowedByTarget(
  { audience, resource }: Target,
  client: ClientFacts,
  ceiling: Ceiling,
  scope: string,
): boolean {
  switch (audience) {
    case 'users':
      return covers(ceiling, scope)
    case 'latchkey':
      return (
        client.source === 'registered' && client.scopes?.some(isReserved) === true && covers(ceiling, scope)
      )
    case 'userinfo':
      return false
    case 'resource': {
      const named = resource?.scopes.find(({ name }) => name === scope)
      return named !== undefined && (named.grantable_by === 'everyone' || covers(ceiling, scope))
    }
  }
}

/** No access token for a resource lasts longer. */
export const MAX_LIFETIME_MS = HOUR_MS

/** How long an access token for a resource lasts; null: one for a part of Latchkey itself. */
export function lifetimeMs(
  { accessTokenExpireMinutes }: Pick<Config, 'accessTokenExpireMinutes'>,
  resource: { tokenLifetimeSeconds: number | null } | null,
): number {
  const seconds = resource?.tokenLifetimeSeconds
  return seconds == null
    ? Math.min(accessTokenExpireMinutes * MINUTE_MS, MAX_LIFETIME_MS)
    : seconds * SECOND_MS
}
