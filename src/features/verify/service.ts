import type { Context } from '../../context.ts'
import type { Database } from '../../db/open.ts'
import { isId } from '../../lib/ids.ts'
import { ceilingOfList, ceilingOfUser, covers } from '../../lib/scopes.ts'
import { isMistypedApiKey } from '../../lib/tokens.ts'
import { tagOf, type Verified } from './cache.ts'
import { type KeyPrincipal, type Principal, type Refusal, refuse, type UserPrincipal } from './principal.ts'
import { prepareVerifyQueries, type VerifyQueries } from './queries.ts'

/** Longer than any credential of ours: a token of more characters is not looked at. */
export const MAX_CREDENTIAL_LENGTH = 4096

/** The principal of a credential that was verified before and is known to be still good; null says nothing. */
export function recallCredential(context: Context, token: string): Principal | null {
  return context.cache.read(cacheKeyOf(token))
}

/**
 * Who is this? The one answer for every door: our own routes, `/keys/verify`, introspection, forward-auth, the
 * command line. A credential that is dead for one of them is dead for all of them, at the same moment.
 * @param token an access token or an API key, as shown
 * @throws only where the database cannot be asked; a bad credential is a value
 */
export async function verifyCredential(context: Context, token: string): Promise<Principal | Refusal> {
  if (token.length > MAX_CREDENTIAL_LENGTH) return refuse('NOT_FOUND')
  const hash = cacheKeyOf(token)
  const known = context.cache.read(hash)
  if (known) return known
  const load = looksLikeJwt(token) ? () => loadAccessToken(context, token) : () => loadApiKey(context, token)
  const loaded = await context.cache.fill<Refusal>(hash, load)
  return 'principal' in loaded ? loaded.principal : loaded
}

function cacheKeyOf(token: string): string {
  return Bun.SHA256.hash(token, 'base64')
}

function looksLikeJwt(token: string): boolean {
  return token.startsWith('eyJ')
}

async function loadAccessToken(context: Context, token: string): Promise<Verified | Refusal> {
  const claims = await context.signing.verify(token)
  if (!claims || !isId(claims.sessionId) || !isId(claims.subject)) return refuse('NOT_FOUND')
  const [row] = await queriesOf(context.db).findSession.execute({
    sessionId: claims.sessionId,
    userId: claims.subject,
  })
  if (!row) return refuse('NOT_FOUND')
  const now = context.clock()
  if (row.endedAt) return refuse('REVOKED')
  if (row.expiresAt.getTime() <= now) return refuse('EXPIRED')
  if (!row.user.isActive) return refuse('OWNER_DISABLED')

  const { role, email, emailVerified, createdAt } = row.user
  const grants = ceilingOfUser(row.user, context.config.userScopes)
  const principal: UserPrincipal = {
    kind: 'user',
    userId: claims.subject,
    sessionId: claims.sessionId,
    email,
    emailVerified,
    role,
    createdAt,
    scopes: scopesOfUser(row.user, context),
    grants,
  }
  return {
    principal,
    validUntilMs: Math.min(claims.expiresAtMs, row.expiresAt.getTime()),
    tags: [
      tagOf('session', claims.sessionId),
      tagOf('user', claims.subject),
      tagOf('signing_key', claims.keyId),
    ],
  }
}

/** The scopes that a user's access token names: their own list, or USER_SCOPES. */
export function scopesOfUser(
  user: { scopes: readonly string[] | null },
  context: Pick<Context, 'config'>,
): readonly string[] {
  const { userScopes } = context.config
  return user.scopes ?? (userScopes === 'any' ? [] : userScopes)
}

async function loadApiKey(context: Context, token: string): Promise<Verified | Refusal> {
  if (isMistypedApiKey(context.config.apiKeyPrefix, token)) return refuse('NOT_FOUND')
  const [row] = await queriesOf(context.db).findSecret.execute({ hash: Bun.SHA256.hash(token) })
  if (!row) return refuse('NOT_FOUND')
  const { key } = row
  const now = context.clock()
  const expiresAtMs = Math.min(
    row.secretExpiresAt?.getTime() ?? Infinity,
    key.expiresAt?.getTime() ?? Infinity,
  )
  if (key.revokedAt) return refuse('REVOKED', key.id)
  if (expiresAtMs <= now) return refuse('EXPIRED', key.id)
  if (!key.isActive) return refuse('DISABLED', key.id)
  const owner = ownerOf(row)
  if (!owner?.isActive) return refuse('OWNER_DISABLED', key.id)

  const ceiling =
    owner.type === 'user'
      ? ceilingOfUser(owner.row, context.config.userScopes)
      : ceilingOfList(owner.row.scopes)
  const scopes = key.scopes.filter((scope) => covers(ceiling, scope))
  const principal: KeyPrincipal = {
    kind: 'key',
    keyId: key.id,
    secretId: row.secretId,
    name: key.name,
    owner: owner.shown,
    expiresAt: key.expiresAt,
    scopes,
    grants: ceilingOfList(scopes),
  }
  return {
    principal,
    validUntilMs: expiresAtMs,
    tags: [tagOf('key', key.id), tagOf(owner.type, owner.shown.id)],
  }
}

type SecretRow = Awaited<ReturnType<VerifyQueries['findSecret']['execute']>>[number]

function ownerOf({ key, user, serviceAccount }: SecretRow) {
  if (key.userId !== null && user) {
    const { email, emailVerified, role, createdAt } = user
    const shown = { type: 'user' as const, id: key.userId, email, emailVerified, role, createdAt }
    return { type: shown.type, isActive: user.isActive, row: user, shown }
  }
  if (key.serviceAccountId !== null && serviceAccount) {
    const shown = { type: 'service_account' as const, id: key.serviceAccountId, name: serviceAccount.name }
    return { type: shown.type, isActive: serviceAccount.isActive, row: serviceAccount, shown }
  }
  return null
}

const prepared = new WeakMap<Database, VerifyQueries>()

function queriesOf(db: Database): VerifyQueries {
  const known = prepared.get(db)
  if (known) return known
  const queries = prepareVerifyQueries(db)
  prepared.set(db, queries)
  return queries
}
