import { isDeepStrictEqual } from 'node:util'
import type { JWK } from 'jose'
import { fail, spentHeaders } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import type { Origin } from '../audit/audit.ts'
import { changedMeanwhile, recordChange } from '../change/record-change.ts'
import { type ClientRow, findClientByClientId, insertClientOnce, updateClient } from '../clients/rows.ts'
import type { Context } from '../context.ts'
import { isAuthorizationServer } from '../oauth/authorization-server.ts'
import { readDocument, readKeySet } from './document.ts'
import { isHostAllowed, readDocumentUrl } from './url.ts'

/** Whether apps may name themselves by a metadata document here. */
const takesDocuments = ({ config }: Pick<Context, 'config'>): boolean =>
  config.oauthClientMetadata === 'on' && isAuthorizationServer(config)

/** Whether a document is known here, so that a request which names it causes no fetch. */
export function isDocumentKnown(context: Pick<Context, 'documents'>, clientId: string): boolean {
  const read = readDocumentUrl(clientId)
  return 'url' in read && context.documents.recall(read.url) !== null
}

/**
 * The app that a Client ID Metadata Document describes (oauth.md, section 3, rule 4). Fetches the document unless it is known,
 * and keeps the app's row as the document says. Its caller has signed the person in: a stranger makes Latchkey fetch nothing.
 * @param url the `client_id` of the request, as it was written
 * @returns the row, of the source `metadata`
 * @throws Problem invalid_request with a sentence for a page, rate_limited
 */
export async function resolveMetadataClient(
  context: Context,
  origin: Origin,
  userId: string,
  url: string,
): Promise<ClientRow> {
  if (!takesDocuments(context)) refuse('Apps are registered here by an admin.')
  const read = readDocumentUrl(url)
  if ('fault' in read) refuse(read.fault)
  if (!isHostAllowed(context.config, read.url.hostname)) refuse('Apps of its host are not taken here.')
  const known = await findClientByClientId(context.db, url)
  if (known?.isActive === false) refuse(DISABLED)
  await countVisit(context, userId, read.url)
  const document = await context.documents.read(read.url)
  const app = 'fault' in document ? document : readDocument(document.json, read.url)
  if ('fault' in app) refuse(app.fault)
  const { jwksUri, ...declared } = app
  const jwks = jwksUri === null ? null : await readKeys(context, jwksUri)
  return storeApp(context, origin, known, { ...declared, clientId: url, jwks })
}

const DISABLED = 'An admin disabled this app.'

/** @throws Problem invalid_request, which below /oauth/ is answered as a page: the redirect URI is not proven */
function refuse(sentence: string): never {
  fail('invalid_request', { detail: `This app cannot be used. ${sentence}` })
}

/** A known document costs its host nothing, and so does not count. */
async function countVisit(context: Context, userId: string, url: URL): Promise<void> {
  const rate = context.config.rateLimits?.client_metadata
  if (rate === undefined || context.documents.recall(url) !== null) return
  const waitSeconds = await context.visits.count(userId, url.href, rate)
  if (waitSeconds === null) return
  context.metrics.rateLimited.client_metadata += 1
  fail('rate_limited', { headers: spentHeaders(rate.limit, waitSeconds) })
}

/** The keys are stored with the app: its token requests fetch nothing. */
async function readKeys(context: Context, url: URL): Promise<{ keys: JWK[] }> {
  const found = await context.documents.read(url)
  const jwks = 'fault' in found ? found : readKeySet(found.json)
  if ('fault' in jwks) refuse(jwks.fault)
  return jwks
}

type StoredApp = Pick<ClientRow, 'clientId' | 'name' | 'redirectUris' | 'grants' | 'jwks'>

async function storeApp(
  context: Context,
  origin: Origin,
  known: ClientRow | null,
  app: StoredApp,
): Promise<ClientRow> {
  const columns = { ...app, kind: app.jwks === null ? ('public' as const) : ('confidential' as const) }
  if (known === null) return insertApp(context, origin, columns)
  const changed = Object.entries(columns)
    .filter(([name, value]) => !isDeepStrictEqual(known[name as keyof typeof columns], value))
    .map(([name]) => name)
  if (changed.length === 0) return known
  return recordChange(
    context,
    origin,
    null,
    [['clients', known.id, 'no key update']],
    async ({ tx, held, record }) => {
      const present = held.clients.get(known.id)
      if (present?.isActive === false) refuse(DISABLED)
      const row = await updateClient(tx, known.id, columns)
      if (row === null) throw changedMeanwhile()
      await record({ action: 'client.updated', target: { type: 'client', id: row.id }, details: { changed } })
      return row
    },
  )
}

function insertApp(
  context: Context,
  origin: Origin,
  columns: StoredApp & Pick<ClientRow, 'kind'>,
): Promise<ClientRow> {
  const id = newId()
  return recordChange(context, origin, null, [], async ({ tx, now, record }) => {
    const row = await insertClientOnce(tx, { id, ...columns, source: 'metadata', createdAt: now })
    // The request that came first wrote the same.
    if (row === null) return (await findClientByClientId(tx, columns.clientId)) ?? fail('unavailable')
    if (!row.isActive) refuse(DISABLED)
    const details = { client_id: row.clientId, name: row.name }
    await record({ action: 'client.first_seen', target: { type: 'client', id }, details })
    return row
  })
}
