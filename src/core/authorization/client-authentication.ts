import { decodeJwt } from 'jose'
import { fail } from '../../lib/errors.ts'
import { hashToken } from '../../lib/tokens.ts'
import { namingInAudit } from '../audit/naming.ts'
import { verifyClientAssertion } from '../client-metadata/assertion.ts'
import type { ClientRow } from '../clients/rows.ts'
import { noteClientUse } from '../clients/uses.ts'
import type { Context } from '../context.ts'
import { type ClientCredentials, failClient } from '../oauth/client.ts'
import type { ClientForm } from '../oauth/model.ts'
import { findSecretId } from './queries.ts'
import { findKnownClient } from './resolve-client.ts'

/** The `client_assertion_type` of `private_key_jwt` (RFC 7523, section 2.2). */
const JWT_BEARER = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/**
 * The app that asks the token, the revocation or the device endpoint: authenticated, or named where it is public (oauth.md,
 * section 3, rule 2, and section 8).
 * @param credentials by HTTP Basic or of the form; null: none
 * @returns null where the request names no app that is known here
 * @throws Problem invalid_client where an app is named and does not prove that it is that one
 */
export async function authenticateApp(
  context: Context,
  credentials: ClientCredentials | null,
  form: ClientForm,
): Promise<ClientRow | null> {
  if (form.client_assertion !== undefined || form.client_assertion_type !== undefined)
    return authenticateByAssertion(context, credentials, form)
  const clientId = credentials?.id ?? form.client_id
  const client = clientId === undefined ? null : await findKnownClient(context, clientId)
  if (!client) return null
  const secretId =
    client.kind === 'public' || credentials === null
      ? null
      : await findSecretId(context.db, client.id, hashToken(credentials.secret), new Date(context.clock()))
  const isProven = client.kind === 'public' ? credentials === null : secretId !== null
  if (!isProven) return failClient({ audit: nameClient(client) })
  await noteClientUse(context, client.id, secretId)
  return client
}

/** An app that signs with its own key; `client_id` may be left out, since the assertion names it. */
async function authenticateByAssertion(
  context: Context,
  credentials: ClientCredentials | null,
  { client_assertion: assertion = '', client_assertion_type: type, client_id: named }: ClientForm,
): Promise<ClientRow> {
  if (credentials !== null) fail('invalid_request', { detail: 'Authenticate one client, in one way.' })
  if (type !== JWT_BEARER) return failClient()
  const clientId = named ?? subjectOf(assertion)
  const client = clientId === null ? null : await findKnownClient(context, clientId)
  if (client?.kind !== 'confidential') return failClient()
  await namingInAudit(nameClient(client), () => verifyClientAssertion(context, client, assertion))
  await noteClientUse(context, client.id, null)
  return client
}

/** An app as the audit trail names it: with its name, since the app may be deleted before an admin reads the row. */
export const nameClient = ({ id, name }: Pick<ClientRow, 'id' | 'name'>) => ({
  client_id: id,
  client_name: name,
})

/** Whom an assertion names. Only its signature proves it. */
function subjectOf(assertion: string): string | null {
  try {
    return decodeJwt(assertion).sub ?? null
  } catch {
    return null
  }
}

/** @throws Problem unauthorized_client where the client may not use a grant */
export function requireGrantType({ grants }: ClientRow, name: string): void {
  if (!grants.includes(name)) fail('unauthorized_client')
}
