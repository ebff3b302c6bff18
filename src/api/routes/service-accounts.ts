import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import {
  NewServiceAccount,
  ServiceAccount,
  ServiceAccountPage,
  ServiceAccountPatch,
} from '../../core/service-accounts/model.ts'
import {
  changeServiceAccount,
  createServiceAccount,
  listManagedAccounts,
  removeServiceAccount,
  requireVisibleAccount,
  type WholeAccount,
} from '../../core/service-accounts/service-accounts.ts'
import { ExternalId } from '../../lib/model.ts'
import type { Guard } from '../auth.ts'
import { describe, noContent } from '../openapi/describe.ts'
import { pageQuery, presentPage, searchQuery, tellTruncated } from '../page.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'

const present = (account: WholeAccount): ServiceAccount => ({
  id: account.id,
  name: account.name,
  description: account.description,
  scopes: account.scopes,
  is_active: account.isActive,
  external_id: account.externalId,
  managers: account.managers.map(({ type, id }) => ({ type, id })),
  created_by: account.createdBy,
  created_at: account.createdAt.toISOString(),
})

const AccountQuery = Type.Object({
  query: searchQuery('The beginning of the name, or of words in the name or external id'),
  external_id: Type.Optional(ExternalId),
  ...pageQuery,
})

/** Service accounts. Managers manage an account, its maker first; admins manage all; an API key needs the scope as well. */
export const serviceAccountRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/service-accounts', tags: ['Service accounts'] })
    .use(guard)
    .post(
      '/',
      async ({ auth, body, state, status }) =>
        status(201, present(await createServiceAccount(context, originOf(state), auth, body))),
      {
        ...NEEDS['POST /service-accounts'],
        body: NewServiceAccount,
        response: { 201: ServiceAccount },
        detail: describe('createServiceAccount', 'Make a service account', {
          errors: ['reauthentication_required'],
        }),
      },
    )
    .get(
      '/',
      async ({ auth, query, set }) => {
        const { query: text, external_id: externalId, ...page } = query
        const found = await listManagedAccounts(context, auth, { text, externalId, ...page })
        tellTruncated(set, found.isTruncated)
        return presentPage(found, present)
      },
      {
        ...NEEDS['GET /service-accounts'],
        query: AccountQuery,
        response: { 200: ServiceAccountPage },
        detail: describe('listServiceAccounts', 'Service accounts, newest first'),
      },
    )
    .get('/:id', async ({ auth, params }) => present(await requireVisibleAccount(context, auth, params.id)), {
      ...NEEDS['GET /service-accounts/:id'],
      response: { 200: ServiceAccount },
      detail: describe('getServiceAccount', 'One service account', { errors: ['not_found'] }),
    })
    .patch(
      '/:id',
      async ({ auth, body, params, state }) =>
        present(await changeServiceAccount(context, originOf(state), auth, params.id, body)),
      {
        ...NEEDS['PATCH /service-accounts/:id'],
        body: ServiceAccountPatch,
        response: { 200: ServiceAccount },
        detail: describe('changeServiceAccount', "Change a service account's name, ceiling or state", {
          errors: ['not_found', 'reauthentication_required'],
        }),
      },
    )
    .delete(
      '/:id',
      async ({ auth, params, state, status }) => {
        await removeServiceAccount(context, originOf(state), auth, params.id)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /service-accounts/:id'],
        response: noContent('Deleted, with its keys'),
        detail: describe('deleteServiceAccount', 'Delete a service account with its keys', {
          errors: ['not_found', 'reauthentication_required'],
        }),
      },
    )
