import { ceilingOfList, ceilingOfUser, covers } from '../../lib/scopes.ts'
import { hashToken, isMistypedApiKey } from '../../lib/tokens.ts'
import type { Context } from '../context.ts'
import { type KeyPrincipal, type Refusal, refuse } from '../principal.ts'
import { tagOf, type Verified } from './cache.ts'
import { type VerifyQueries, verifyQueriesOf } from './queries.ts'
import { rateOf } from './rates.ts'

type SecretRow = Awaited<ReturnType<VerifyQueries['findSecret']['execute']>>[number]

/** Whose API key this is, by the SHA-256 of the whole of it. */
export async function loadApiKey(context: Context, token: string): Promise<Verified | Refusal> {
  if (isMistypedApiKey(context.config.apiKeyPrefix, token)) return refuse('NOT_FOUND')
  const [row] = await verifyQueriesOf(context.db).findSecret.execute({ hash: hashToken(token) })
  return row ? judgeSecret(context, row) : refuse('NOT_FOUND')
}

/**
 * Whether a secret is good now, and for what. The order of the checks is that of API.md.
 * @param isWanted narrows the scopes further: those that a service account's token was made for
 */
export function judgeSecret(
  context: Context,
  row: SecretRow,
  isWanted: (scope: string) => boolean = () => true,
): Verified | Refusal {
  const { key } = row
  const expiresAtMs = Math.min(
    row.secretExpiresAt?.getTime() ?? Infinity,
    key.expiresAt?.getTime() ?? Infinity,
  )
  if (key.revokedAt) return refuse('REVOKED', key.id)
  if (expiresAtMs <= context.clock()) return refuse('EXPIRED', key.id)
  if (!key.isActive) return refuse('DISABLED', key.id)
  const owner = ownerOf(context, row)
  if (!owner?.isActive) return refuse('OWNER_DISABLED', key.id)

  const scopes = key.scopes.filter((scope) => covers(owner.ceiling, scope) && isWanted(scope))
  const principal: KeyPrincipal = {
    kind: 'key',
    keyId: key.id,
    secretId: row.secretId,
    name: key.name,
    owner: owner.shown,
    externalId: key.externalId,
    metadata: key.metadata,
    rateLimit: rateOf(key),
    allowedIps: key.allowedIps,
    hasCredits: row.creditsOf !== null,
    expiresAt: key.expiresAt,
    secretExpiresAt: expiresAtMs === Infinity ? null : new Date(expiresAtMs),
    scopes,
    grants: ceilingOfList(scopes),
  }
  const tags = [tagOf('key', key.id), tagOf(owner.shown.type, owner.shown.id)]
  return { principal, validUntilMs: expiresAtMs, tags }
}

function ownerOf({ config }: Context, { key, user, serviceAccount }: SecretRow) {
  if (key.userId !== null && user) {
    const { email, emailVerified, role, createdAt, isActive } = user
    const shown = { type: 'user' as const, id: key.userId, email, emailVerified, role, createdAt }
    return { isActive, shown, ceiling: ceilingOfUser(user, config.userScopes) }
  }
  if (key.serviceAccountId !== null && serviceAccount) {
    const { name, isActive, scopes } = serviceAccount
    const shown = { type: 'service_account' as const, id: key.serviceAccountId, name }
    return { isActive, shown, ceiling: ceilingOfList(scopes) }
  }
  return null
}
