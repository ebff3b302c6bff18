import { fail } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import { SECOND_MS } from '../../lib/time.ts'
import type { Origin } from '../audit/audit.ts'
import { recordChange } from '../change/record-change.ts'
import { readDeclared } from '../clients/declared.ts'
import { insertClient } from '../clients/rows.ts'
import type { Context } from '../context.ts'
import type { AdminPrincipal } from '../principal.ts'
import type { RegisteredApp, Registration } from './model.ts'

/**
 * Registers an app (RFC 7591; oauth.md, section 3, rule 5): a public client, whose `client_id` is new.
 * @param admin who registers it; null: OAUTH_REGISTRATION is `open`
 * @throws Problem invalid_redirect_uri, invalid_client_metadata
 */
export async function registerApp(
  context: Context,
  origin: Origin,
  admin: AdminPrincipal | null,
  metadata: Registration,
): Promise<RegisteredApp> {
  const { token_endpoint_auth_method: method = 'none' } = metadata
  if (method !== 'none')
    fail('invalid_client_metadata', { detail: 'Its token_endpoint_auth_method must be none.' })
  const app = readDeclared(metadata, false)
  if ('fault' in app)
    fail(app.isOfRedirectUris ? 'invalid_redirect_uri' : 'invalid_client_metadata', { detail: app.fault })
  const id = newId()
  const createdAt = await recordChange(context, origin, admin, [], async ({ tx, now, record }) => {
    await insertClient(tx, {
      id,
      clientId: id,
      source: 'dynamic',
      kind: 'public',
      ...app,
      createdAt: now,
      createdBy: admin?.userId ?? null,
    })
    const details = { name: app.name, source: 'dynamic', redirect_uris: app.redirectUris }
    await record({ action: 'client.created', target: { type: 'client', id }, details })
    return now
  })
  return {
    client_id: id,
    client_id_issued_at: Math.floor(createdAt.getTime() / SECOND_MS),
    client_name: app.name,
    redirect_uris: app.redirectUris,
    grant_types: app.grants,
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  }
}
