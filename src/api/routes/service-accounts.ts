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
  requireManagedAccount,
  type ServiceAccountRow,
} from '../../core/service-accounts/service-accounts.ts'
import { SERVICE_ACCOUNTS_READ, SERVICE_ACCOUNTS_WRITE } from '../../lib/scopes.ts'
import type { Guard } from '../auth.ts'
import { pageQuery, presentPage } from '../page.ts'
import { originOf } from '../request-state.ts'

const present = (account: ServiceAccountRow): ServiceAccount => ({
  id: account.id,
  name: account.name,
  description: account.description,
  scopes: account.scopes,
  is_active: account.isActive,
  created_by: account.createdBy,
  created_at: account.createdAt.toISOString(),
})

const reads = { anyone: { keyScopes: [SERVICE_ACCOUNTS_READ], whole: true } }

/** Service accounts: any user makes them, makers manage their own, admins all; a key needs the scope. */
export const serviceAccountRoutes = (context: Context, guard: Guard) => {
  const recent = context.config.reauthenticateForKeys
  const writes = { anyone: { keyScopes: [SERVICE_ACCOUNTS_WRITE], whole: true, recent } }
  const takes = {
    anyone: { keyScopes: [SERVICE_ACCOUNTS_WRITE], whole: true, recent, json: true },
  } as const
  return new Elysia({ prefix: '/service-accounts', tags: ['Service accounts'] })
    .use(guard)
    .post(
      '/',
      async ({ auth, body, state, status }) =>
        status(201, present(await createServiceAccount(context, originOf(state), auth, body))),
      {
        ...takes,
        body: NewServiceAccount,
        response: { 201: ServiceAccount },
        detail: {
          operationId: 'createServiceAccount',
          summary: 'Make a service account',
          'x-errors': ['reauthentication_required'],
        },
      },
    )
    .get(
      '/',
      async ({ auth, query }) => presentPage(await listManagedAccounts(context, auth, query), present),
      {
        ...reads,
        query: Type.Object(pageQuery),
        response: { 200: ServiceAccountPage },
        detail: { operationId: 'listServiceAccounts', summary: 'Service accounts, newest first' },
      },
    )
    .get('/:id', async ({ auth, params }) => present(await requireManagedAccount(context, auth, params.id)), {
      ...reads,
      response: { 200: ServiceAccount },
      detail: { operationId: 'getServiceAccount', summary: 'One service account', 'x-errors': ['not_found'] },
    })
    .patch(
      '/:id',
      async ({ auth, body, params, state }) =>
        present(await changeServiceAccount(context, originOf(state), auth, params.id, body)),
      {
        ...takes,
        body: ServiceAccountPatch,
        response: { 200: ServiceAccount },
        detail: {
          operationId: 'changeServiceAccount',
          summary: "Change a service account's name, ceiling or state",
          'x-errors': ['not_found', 'reauthentication_required'],
        },
      },
    )
    .delete(
      '/:id',
      async ({ auth, params, state, status }) => {
        await removeServiceAccount(context, originOf(state), auth, params.id)
        return status(204, undefined)
      },
      {
        ...writes,
        response: { 204: Type.Undefined({ description: 'Deleted, with its keys' }) },
        detail: {
          operationId: 'deleteServiceAccount',
          summary: 'Delete a service account with its keys',
          'x-errors': ['not_found', 'reauthentication_required'],
        },
      },
    )
}
