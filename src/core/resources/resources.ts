import { violatedConstraint } from '../../db/errors.ts'
import type { ResourceScope } from '../../db/oauth.ts'
import { fail, failField } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { type PageQuery, readPage } from '../../lib/page.ts'
import { isReserved, requireScopes } from '../../lib/scopes.ts'
import type { Origin } from '../audit/audit.ts'
import { type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { deleteWithGrants, endSessionsOfDisabled, type GrantsOf } from '../grants/grants.ts'
import { requireAuthorizationServer } from '../oauth/authorization-server.ts'
import type { AdminPrincipal, Operator } from '../principal.ts'
import { OWN_SLUG } from './audience.ts'
import { findIdentifierFault, isOwnIdentifier } from './identifier.ts'
import type { NewResource, NewScope, Resource, ResourcePatch } from './model.ts'
import { OWN_RESOURCE_ID, ownResource } from './own.ts'
import {
  deleteResource,
  findResourceById,
  findResourceBySlug,
  insertResource,
  listResourceRows,
  type ResourceChange,
  type ResourceRow,
  updateResource,
} from './queries.ts'

export { countResources, findIdentifiers } from './queries.ts'

/** Who changes resources. */
type Administrator = AdminPrincipal | Operator

/** Scopes of OpenID Connect. They belong to no resource. */
const OF_OPENID = ['openid', 'email', 'profile', 'offline_access']

/**
 * Registers an API for which apps get access tokens.
 * @throws Problem validation_failed; conflict where the identifier or the slug is taken
 */
export async function createResource(
  context: Context,
  origin: Origin,
  caller: Administrator,
  input: NewResource,
): Promise<Resource> {
  requireAuthorizationServer(context)
  const fault = findIdentifierFault(input.identifier)
  if (fault !== null) failField('/identifier', fault)
  if (isOwnIdentifier(context.config, input.identifier)) fail('conflict', { detail: TAKEN_IDENTIFIER })
  requireFreeSlug(input.slug)
  const id = newId()
  const scopes = readScopes(input.scopes)
  const work = recordChange(context, origin, caller, [], async ({ tx, now, record, caller }) => {
    const row = await insertResource(tx, {
      id,
      identifier: input.identifier,
      slug: input.slug,
      name: input.name,
      scopes,
      tokenLifetimeSeconds: input.token_lifetime_seconds ?? null,
      createdAt: now,
      createdBy: caller.kind === 'user' ? caller.userId : null,
    })
    await record({ action: 'resource.created', target: { type: 'resource', id }, details: describe(row) })
    return row
  })
  return present(await orTaken(work))
}

/**
 * Changes a resource. Where it is disabled, every session of an app for it ends; the grants stay.
 * @throws Problem not_found, validation_failed; conflict where the slug is taken, and for Latchkey's own
 */
export async function changeResource(
  context: Context,
  origin: Origin,
  caller: Administrator,
  id: string,
  patch: ResourcePatch,
): Promise<Resource> {
  requireForeign(id)
  const change = readPatch(patch)
  const endSessions = () => endSessionsOfDisabled(context, origin, caller, of(id), 'resource_disabled')
  // Where the work of disabling it stopped between two steps, sessions are left that would live again.
  if (change.isActive === true && (await findResourceById(context.db, id))?.isActive === false)
    await endSessions()
  const locks: Lock[] = [['resources', id, 'no key update']]
  const work = recordChange(context, origin, caller, locks, async ({ tx, held, record }) => {
    const before = held.resources.get(id) ?? fail('not_found')
    const after = { ...before, ...change }
    const [was, is] = [describe(before), describe(after)]
    if (JSON.stringify(was) === JSON.stringify(is)) return before
    await updateResource(tx, id, change)
    await record({
      action: 'resource.updated',
      target: { type: 'resource', id },
      details: { before: was, after: is },
    })
    return after
  })
  const row = await orTaken(work)
  if (change.isActive === false) await endSessions()
  return present(row)
}

/**
 * Deletes a resource with its grants. Every session of an app for it ends.
 * @throws Problem not_found; conflict for Latchkey's own
 */
export async function removeResource(
  context: Context,
  origin: Origin,
  caller: Administrator,
  id: string,
): Promise<void> {
  requireForeign(id)
  const target = { type: 'resource', id } as const
  await deleteWithGrants(context, origin, caller, {
    of: of(id),
    reason: 'resource_deleted',
    async disable({ tx, held, record }) {
      const row = held.resources.get(id) ?? fail('not_found')
      const change = { isActive: false }
      await updateResource(tx, id, change)
      const details = { before: describe(row), after: describe({ ...row, ...change }) }
      await record({ action: 'resource.updated', target, details })
    },
    async remove({ tx, held, record }, ended) {
      const row = held.resources.get(id) ?? fail('not_found')
      await deleteResource(tx, id)
      await record({ action: 'resource.deleted', target, details: { ...describe(row), ...ended } })
    },
  })
}

const of = (id: string): GrantsOf => ({ table: 'resources', id })

/** A page of resources, newest first; Latchkey's own is the last. */
export async function listResources(
  context: Context,
  query: PageQuery,
): Promise<{ items: Resource[]; next_cursor: string | null }> {
  const own = { ...ownResource(context.config), createdAt: new Date(0) }
  const page = await readPage<Resource & { createdAt: Date }>(
    context.keys.cursor,
    'resources',
    query,
    async (rows) => {
      const found = await listResourceRows(context.db, rows)
      const shown = found.map((row) => ({ ...present(row), createdAt: row.createdAt }))
      return found.length < rows.limit ? [...shown, own] : shown
    },
  )
  const items = page.rows.map(({ createdAt: _, ...resource }) => resource)
  return { items, next_cursor: page.nextCursor }
}

/** @throws Problem not_found */
export async function requireResource(context: Context, id: string): Promise<Resource> {
  if (id === OWN_RESOURCE_ID) return ownResource(context.config)
  const row = isId(id) ? await findResourceById(context.db, id) : null
  return row ? present(row) : fail('not_found')
}

/** By its id or its slug. @throws Problem not_found */
export async function requireResourceNamed(context: Context, name: string): Promise<Resource> {
  if (isId(name)) return requireResource(context, name)
  if (name === OWN_SLUG) return ownResource(context.config)
  const row = await findResourceBySlug(context.db, name)
  return row ? present(row) : fail('not_found')
}

function requireForeign(id: string): void {
  if (!isId(id)) fail('not_found')
  if (id === OWN_RESOURCE_ID) fail('conflict', { detail: "Latchkey's own resource does not change." })
}

const TAKEN_IDENTIFIER = 'A resource has this identifier.'
const TAKEN_SLUG = 'A resource has this slug.'

function requireFreeSlug(slug: string): void {
  if (slug === OWN_SLUG) fail('conflict', { detail: TAKEN_SLUG })
}

/** @throws Problem conflict where another resource has the identifier or the slug */
async function orTaken(work: Promise<ResourceRow>): Promise<ResourceRow> {
  try {
    return await work
  } catch (error) {
    const violated = violatedConstraint(error)
    if (violated === 'resources_identifier_key') fail('conflict', { detail: TAKEN_IDENTIFIER })
    if (violated === 'resources_slug_key') fail('conflict', { detail: TAKEN_SLUG })
    throw error
  }
}

function readPatch(patch: ResourcePatch): ResourceChange {
  const change: ResourceChange = {}
  if (patch.name !== undefined) change.name = patch.name
  if (patch.slug !== undefined) {
    requireFreeSlug(patch.slug)
    change.slug = patch.slug
  }
  if (patch.scopes !== undefined) change.scopes = readScopes(patch.scopes)
  if (patch.token_lifetime_seconds !== undefined) change.tokenLifetimeSeconds = patch.token_lifetime_seconds
  if (patch.is_active !== undefined) change.isActive = patch.is_active
  return change
}

/** @throws Problem validation_failed */
function readScopes(scopes: readonly NewScope[]): ResourceScope[] {
  const names = new Set<string>()
  return scopes.map(({ name, description, grantable_by = 'everyone' }, at) => {
    const path = `/scopes/${at}/name`
    const [scope] = requireScopes(path, [name])
    if (scope === undefined || isReserved(scope)) failField(path, "Must not be a scope of Latchkey's own")
    if (OF_OPENID.includes(scope)) failField(path, 'Must not be a scope of OpenID Connect')
    if (names.has(scope)) failField(path, 'Must not be named twice')
    names.add(scope)
    return { name: scope, description, grantable_by }
  })
}

/** The settings of a resource, for the audit trail. */
const describe = (row: ResourceRow) => ({
  identifier: row.identifier,
  name: row.name,
  slug: row.slug,
  scopes: row.scopes.map(({ name, description, grantable_by }) => ({ name, description, grantable_by })),
  token_lifetime_seconds: row.tokenLifetimeSeconds,
  is_active: row.isActive,
})

const present = (row: ResourceRow): Resource => ({
  id: row.id,
  ...describe(row),
  is_own: false,
  created_at: row.createdAt.toISOString(),
  created_by: row.createdBy,
})
