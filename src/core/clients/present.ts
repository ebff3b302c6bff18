import { fail } from '../../lib/errors.ts'
import type { Context } from '../context.ts'
import type { OAuthClient } from './model.ts'
import { type ClientRow, type ClientSecretRow, listLiveSecrets } from './queries.ts'

/** Clients in the form in which the API answers, in the same order. */
export async function presentClients(
  { db, clock }: Pick<Context, 'db' | 'clock'>,
  rows: readonly ClientRow[],
): Promise<OAuthClient[]> {
  const ids = rows.filter(({ kind }) => kind === 'confidential').map(({ id }) => id)
  const secrets = ids.length === 0 ? [] : await listLiveSecrets(db, ids, new Date(clock()))
  const byClient = Map.groupBy(secrets, ({ clientId }) => clientId)
  return rows.map((row) => ({
    id: row.id,
    client_id: row.clientId,
    source: row.source,
    kind: row.kind,
    ...presentSettings(row),
    created_at: row.createdAt.toISOString(),
    created_by: row.createdBy,
    last_used_at: row.lastUsedAt?.toISOString() ?? null,
    secrets: (byClient.get(row.id) ?? []).map(presentSecret),
  }))
}

/** One client in the same form. */
export async function presentClient(
  context: Pick<Context, 'db' | 'clock'>,
  row: ClientRow,
): Promise<OAuthClient> {
  return (await presentClients(context, [row]))[0] ?? fail('internal')
}

/** What an admin sets on a client, without its keys. */
export const presentSettings = (row: ClientRow) => ({
  name: row.name,
  redirect_uris: row.redirectUris,
  post_logout_redirect_uris: row.postLogoutRedirectUris,
  grants: row.grants,
  scopes: row.scopes,
  first_party: row.firstParty,
  is_active: row.isActive,
})

const presentSecret = ({ id, start, createdAt, expiresAt, lastUsedAt }: ClientSecretRow) => ({
  id,
  start,
  created_at: createdAt.toISOString(),
  expires_at: expiresAt?.toISOString() ?? null,
  last_used_at: lastUsedAt?.toISOString() ?? null,
})
