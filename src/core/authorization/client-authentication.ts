import { fail } from '../../lib/errors.ts'
import { hashToken } from '../../lib/tokens.ts'
import { noteClientUse } from '../clients/uses.ts'
import type { Context } from '../context.ts'
import { type ClientCredentials, failClient } from '../oauth/client.ts'
import type { ClientForm } from '../oauth/model.ts'
import { type ClientRow, findSecretId } from './queries.ts'
import { findKnownClient } from './resolve-client.ts'

/**
 * The app that asks the token or the revocation endpoint: authenticated, or named where it is public (oauth.md, section 3,
 * rule 2). `private_key_jwt` (section 8) is a further way, which belongs here.
 * @param credentials by HTTP Basic or of the form; null: none
 * @returns null where the request names no app that is known here
 * @throws Problem invalid_client where an app is named and does not prove that it is that one
 */
export async function authenticateApp(
  context: Context,
  credentials: ClientCredentials | null,
  form: ClientForm,
): Promise<ClientRow | null> {
  const clientId = credentials?.id ?? form.client_id
  const client = clientId === undefined ? null : await findKnownClient(context, clientId)
  if (!client) return null
  const secretId =
    client.kind === 'public' || credentials === null
      ? null
      : await findSecretId(context.db, client.id, hashToken(credentials.secret), new Date(context.clock()))
  const isProven = client.kind === 'public' ? credentials === null : secretId !== null
  if (!isProven) return failClient()
  await noteClientUse(context, client.id, secretId)
  return client
}

/** @throws Problem unauthorized_client where the client may not use a grant */
export function requireGrantType({ grants }: ClientRow, name: string): void {
  if (!grants.includes(name)) fail('unauthorized_client')
}
