import { fail } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { type PageQuery, readPage } from '../../lib/page.ts'
import type { Origin } from '../audit/audit.ts'
import { type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { deleteWithGrants, endSessionsOfDisabled, type GrantsOf } from '../grants/grants.ts'
import { requireAuthorizationServer } from '../oauth/authorization-server.ts'
import type { AdminPrincipal, Operator } from '../principal.ts'
import type {
  NewOAuthClient,
  OAuthClient,
  OAuthClientPage,
  OAuthClientPatch,
  OAuthClientWithSecret,
} from './model.ts'
import { presentClient, presentClients, presentSettings } from './present.ts'
import {
  type ClientRow,
  deleteClient,
  findClientByClientId,
  findClientById,
  insertClient,
  insertClientSecret,
  listClientRows,
  updateClient,
} from './queries.ts'
import { makeClientSecret } from './secrets.ts'
import { readSettings, requireConsistent } from './settings.ts'

export { countRegisteredClients } from './queries.ts'

/** Who changes clients. */
type Administrator = AdminPrincipal | Operator

/**
 * Registers an app.
 * @returns the client; a confidential one without keys of its own also has its secret, which is shown this once
 * @throws Problem validation_failed
 */
export async function createClient(
  context: Context,
  origin: Origin,
  caller: Administrator,
  { kind, ...input }: NewOAuthClient,
): Promise<OAuthClientWithSecret> {
  requireAuthorizationServer(context)
  const id = newId()
  const settings = {
    name: input.name,
    redirectUris: [],
    postLogoutRedirectUris: [],
    grants: [],
    scopes: null,
    firstParty: false,
    isActive: true,
    jwks: null,
    jwksUri: null,
    ...readSettings(input),
  }
  requireConsistent({ kind, ...settings })
  const hasKeys = settings.jwks !== null || settings.jwksUri !== null
  const secret = kind === 'confidential' && !hasKeys ? makeClientSecret() : null
  const row = await recordChange(context, origin, caller, [], async ({ tx, now, record, caller }) => {
    const createdBy = caller.kind === 'user' ? caller.userId : null
    const row = await insertClient(tx, {
      id,
      clientId: id,
      source: 'registered',
      kind,
      ...settings,
      createdAt: now,
      createdBy,
    })
    if (secret) await insertClientSecret(tx, { ...secret.row, clientId: id, createdAt: now })
    const ofSecret = secret && { secret_id: secret.row.id, start: secret.row.start }
    await record({
      action: 'client.created',
      target: { type: 'client', id },
      details: { kind, ...describe(row), ...ofSecret },
    })
    return row
  })
  return { ...(await presentClient(context, row)), ...(secret && { secret: secret.text }) }
}

/**
 * Changes a client. Where it is disabled, all its sessions end; the grants stay. Of a client that an admin did not register,
 * only `is_active` can be changed, since the app says the rest.
 * @throws Problem not_found, validation_failed; conflict for other members of a client that was not registered
 */
export async function changeClient(
  context: Context,
  origin: Origin,
  caller: Administrator,
  id: string,
  patch: OAuthClientPatch,
): Promise<OAuthClient> {
  if (!isId(id)) fail('not_found')
  const change = readSettings(patch)
  const endSessions = () => endSessionsOfDisabled(context, origin, caller, of(id), 'client_disabled')
  // Where the work of disabling it stopped between two steps, sessions are left that would live again.
  if (change.isActive === true && (await findClientById(context.db, id))?.isActive === false)
    await endSessions()
  const locks: Lock[] = [['clients', id, 'no key update']]
  const row = await recordChange(context, origin, caller, locks, async ({ tx, held, record }) => {
    const before = held.clients.get(id) ?? fail('not_found')
    const isRegistered = before.source === 'registered'
    if (!isRegistered && Object.keys(change).some((name) => name !== 'isActive'))
      fail('conflict', { detail: 'Of a client that was not registered here, only is_active can be changed.' })
    const after = { ...before, ...change }
    if (isRegistered) requireConsistent(after)
    const [was, is] = [describe(before), describe(after)]
    if (JSON.stringify(was) === JSON.stringify(is)) return before
    await updateClient(tx, id, change)
    await record({
      action: 'client.updated',
      target: { type: 'client', id },
      details: { before: was, after: is },
    })
    return after
  })
  if (change.isActive === false) await endSessions()
  return presentClient(context, row)
}

/**
 * Deletes a client with its secrets and grants. All its sessions end.
 * @throws Problem not_found
 */
export async function removeClient(
  context: Context,
  origin: Origin,
  caller: Administrator,
  id: string,
): Promise<void> {
  if (!isId(id)) fail('not_found')
  const target = { type: 'client', id } as const
  await deleteWithGrants(context, origin, caller, {
    of: of(id),
    reason: 'client_deleted',
    async disable({ tx, held, record }) {
      const row = held.clients.get(id) ?? fail('not_found')
      const change = { isActive: false }
      await updateClient(tx, id, change)
      const details = { before: describe(row), after: describe({ ...row, ...change }) }
      await record({ action: 'client.updated', target, details })
    },
    async remove({ tx, held, record }, ended) {
      const row = held.clients.get(id) ?? fail('not_found')
      const { clientId, source, kind } = row
      await deleteClient(tx, id)
      const details = { client_id: clientId, source, kind, ...describe(row), ...ended }
      await record({ action: 'client.deleted', target, details })
    },
  })
}

const of = (id: string): GrantsOf => ({ table: 'clients', id })

/** A page of clients, newest first. */
export async function listClients(
  context: Context,
  { source, ...query }: PageQuery & { source?: ClientRow['source'] | undefined },
): Promise<OAuthClientPage> {
  const page = await readPage(context.keys.cursor, `clients ${source ?? ''}`, query, (rows) =>
    listClientRows(context.db, { source: source ?? null, ...rows }),
  )
  return { items: await presentClients(context, page.rows), next_cursor: page.nextCursor }
}

/** @throws Problem not_found */
export async function requireClient(context: Context, id: string): Promise<OAuthClient> {
  const row = isId(id) ? await findClientById(context.db, id) : null
  return row ? presentClient(context, row) : fail('not_found')
}

/** By its id, or by the `client_id` by which it names itself. @throws Problem not_found */
export async function requireClientNamed(context: Context, name: string): Promise<OAuthClient> {
  const row = isId(name)
    ? await findClientById(context.db, name)
    : await findClientByClientId(context.db, name)
  return row ? presentClient(context, row) : fail('not_found')
}

/** The settings of a client, for the audit trail; its keys by a digest, since they are long. */
const describe = (row: ClientRow) => ({
  ...presentSettings(row),
  jwks_uri: row.jwksUri,
  jwks_sha256: row.jwks && Bun.SHA256.hash(JSON.stringify(row.jwks), 'hex'),
})
