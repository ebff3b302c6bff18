import type { Config } from '../../config/config.ts'
import { newId } from '../../lib/ids.ts'
import type { Origin } from '../audit/audit.ts'
import { resolveMetadataClient } from '../client-metadata/resolve-client.ts'
import { DOCS_CLIENT } from '../clients/docs-client.ts'
import { matchesRedirectUri } from '../clients/redirect-uris.ts'
import { type ClientRow, findClientByClientId, insertClientOnce } from '../clients/rows.ts'
import type { Context } from '../context.ts'
import type { UserPrincipal } from '../principal.ts'

const docsRedirectOf = ({ publicUrl }: Pick<Config, 'publicUrl'>) => `${publicUrl}/docs/oauth2-redirect`

/** No `client_id` is longer. */
const MAX_LENGTH = 500

/**
 * The client that asks for a person's authorization; null where it is unknown or disabled. Fetches the document of a client
 * that names itself by one, for a person who is signed in.
 * @param person who is signed in; null: no one is
 * @throws Problem invalid_request where the document is refused, rate_limited
 */
export async function resolveClient(
  context: Context,
  origin: Origin,
  person: UserPrincipal | null,
  clientId: string,
): Promise<ClientRow | null> {
  if (clientId.length > MAX_LENGTH) return null
  if (person && namesDocument(clientId))
    return resolveMetadataClient(context, origin, person.userId, clientId)
  if (clientId === DOCS_CLIENT && context.config.docs) await makeDocsClient(context)
  return findKnownClient(context, clientId)
}

/** Whether a client names itself by the URL of its document. */
export const namesDocument = (clientId: string): boolean => clientId.startsWith('https://')

/** A client that is known here and active. Fetches nothing. */
export async function findKnownClient(context: Context, clientId: string): Promise<ClientRow | null> {
  // PostgreSQL takes no text with NUL.
  if (clientId.length > MAX_LENGTH || clientId.includes('\0')) return null
  const client = await findClientByClientId(context.db, clientId)
  if (!client?.isActive || (clientId === DOCS_CLIENT && !context.config.docs)) return null
  return asPresent(context, client)
}

/** A client's row, with the redirect of the built-in one as it is now: PUBLIC_URL may have changed since the row was made. */
export const asPresent = ({ config }: Pick<Context, 'config'>, client: ClientRow): ClientRow =>
  client.clientId === DOCS_CLIENT ? { ...client, redirectUris: [docsRedirectOf(config)] } : client

async function makeDocsClient({ db, config, clock }: Context): Promise<void> {
  if (await findClientByClientId(db, DOCS_CLIENT)) return
  await insertClientOnce(db, {
    id: newId(),
    clientId: DOCS_CLIENT,
    source: 'registered',
    kind: 'public',
    name: 'API documentation',
    redirectUris: [docsRedirectOf(config)],
    grants: ['authorization_code', 'refresh_token'],
    firstParty: true,
    createdAt: new Date(clock()),
  })
}

/** Whether a client may be answered at a redirect URI. That of the documentation is compared with its port. */
export const mayRedirect = ({ clientId, redirectUris }: ClientRow, uri: string): boolean =>
  redirectUris.some((known) => (clientId === DOCS_CLIENT ? known === uri : matchesRedirectUri(known, uri)))

/** Whether this client is one of ours, and its redirect cannot be taken by another program: then the person is not asked. */
export function skipsConsent({ clientId, firstParty, kind }: ClientRow, redirectUri: string): boolean {
  if (!firstParty) return false
  return clientId === DOCS_CLIENT || kind === 'confidential' || redirectUri.startsWith('https:')
}

/** Whether a redirect URI leads to a program on the person's own machine. */
export const isLoopbackUri = (uri: string): boolean => uri.startsWith('http:')
