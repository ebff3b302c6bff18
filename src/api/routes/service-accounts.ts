import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { addManager, removeManager } from '../../core/service-accounts/change-managers.ts'
import {
  NewManager,
  NewServiceAccount,
  ServiceAccount,
  ServiceAccountPage,
  ServiceAccountPatch,
  ServiceAccountPut,
} from '../../core/service-accounts/model.ts'
import { presentAccount, presentAccounts } from '../../core/service-accounts/present.ts'
import { putServiceAccount } from '../../core/service-accounts/put.ts'
import {
  changeServiceAccount,
  createServiceAccount,
  listManagedAccounts,
  removeServiceAccount,
  requireVisibleAccount,
  topUpAccount,
} from '../../core/service-accounts/service-accounts.ts'
import { ExternalId } from '../../lib/model.ts'
import type { Guard } from '../auth.ts'
import { describe, noContent } from '../openapi/describe.ts'
import { pageQuery, searchQuery, tellTruncated } from '../page.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'
import { answerTopUp, describeTopUp, TOPS_UP } from '../top-up.ts'

const AccountQuery = Type.Object({
  query: searchQuery('The beginning of the name, or of words in the name or external id'),
  external_id: Type.Optional(ExternalId),
  user_id: Type.Optional(
    Type.String({
      maxLength: 64,
      description: 'Those that this user manages; other users than oneself: for admins and support',
    }),
  ),
  ...pageQuery,
})

/** Service accounts. Managers manage an account, its maker first; admins manage all; an API key needs the scope as well. */
export const serviceAccountRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/service-accounts', tags: ['Service accounts'] })
    .use(guard)
    .post(
      '/',
      async ({ auth, body, state, status }) =>
        status(
          201,
          await presentAccount(context, await createServiceAccount(context, originOf(state), auth, body)),
        ),
      {
        ...NEEDS['POST /service-accounts'],
        body: NewServiceAccount,
        response: { 201: ServiceAccount },
        detail: describe('createServiceAccount', 'Make a service account', {
          errors: ['reauthentication_required'],
        }),
      },
    )
    .put(
      '/',
      async ({ auth, body, state, status }) => {
        const { account, isNew } = await putServiceAccount(context, originOf(state), auth, body)
        const shown = await presentAccount(context, account)
        return isNew ? status(201, shown) : status(200, shown)
      },
      {
        ...NEEDS['PUT /service-accounts'],
        body: ServiceAccountPut,
        response: { 200: ServiceAccount, 201: ServiceAccount },
        detail: describe('putServiceAccount', 'Make the service account of an external id, or change it', {
          description:
            'A new account has the external id as its name, and no scopes, unless they are named; of an account that is there, the members that are named change.',
          errors: ['conflict', 'forbidden', 'reauthentication_required'],
        }),
      },
    )
    .get(
      '/',
      async ({ auth, query, set }) => {
        const { query: text, external_id: externalId, user_id: userId, ...page } = query
        const found = await listManagedAccounts(context, auth, { text, externalId, userId, ...page })
        tellTruncated(set, found.isTruncated)
        return { items: await presentAccounts(context, found.rows), next_cursor: found.nextCursor }
      },
      {
        ...NEEDS['GET /service-accounts'],
        query: AccountQuery,
        response: { 200: ServiceAccountPage },
        detail: describe('listServiceAccounts', 'Service accounts, newest first', { errors: ['not_found'] }),
      },
    )
    .get(
      '/:id',
      async ({ auth, params }) =>
        await presentAccount(context, await requireVisibleAccount(context, auth, params.id)),
      {
        ...NEEDS['GET /service-accounts/:id'],
        response: { 200: ServiceAccount },
        detail: describe('getServiceAccount', 'One service account', { errors: ['not_found'] }),
      },
    )
    .patch(
      '/:id',
      async ({ auth, body, params, state }) =>
        await presentAccount(
          context,
          await changeServiceAccount(context, originOf(state), auth, params.id, body),
        ),
      {
        ...NEEDS['PATCH /service-accounts/:id'],
        body: ServiceAccountPatch,
        response: { 200: ServiceAccount },
        detail: describe(
          'changeServiceAccount',
          "Change a service account's name, ceiling, state or limits",
          {
            errors: ['not_found', 'conflict', 'forbidden', 'reauthentication_required'],
          },
        ),
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
    .post(
      '/:id/credits',
      ({ auth, params, ...given }) =>
        answerTopUp(given, `/service-accounts/${params.id.toLowerCase()}/credits`, (request) =>
          topUpAccount(context, originOf(given.state), auth, params.id, request),
        ),
      {
        ...NEEDS['POST /service-accounts/:id/credits'],
        ...TOPS_UP,
        detail: describeTopUp('topUpServiceAccount', 'a service account'),
      },
    )
    .put(
      '/:id/managers',
      async ({ auth, body, params, state, status }) => {
        await addManager(context, originOf(state), auth, params.id, body)
        return status(204, undefined)
      },
      {
        ...NEEDS['PUT /service-accounts/:id/managers'],
        body: NewManager,
        response: noContent('A manager, also before'),
        detail: describe('addServiceAccountManager', 'Add a manager to a service account', {
          description: 'At most 20. Takes the power to grant every scope of the account.',
          errors: [
            'not_found',
            'conflict',
            'forbidden',
            'insufficient_scope',
            'quota_exceeded',
            'reauthentication_required',
          ],
        }),
      },
    )
    .delete(
      '/:id/managers/:managerId',
      async ({ auth, params, state, status }) => {
        await removeManager(context, originOf(state), auth, params.id, params.managerId)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /service-accounts/:id/managers/:managerId'],
        response: noContent('No manager, also before'),
        detail: describe('removeServiceAccountManager', 'Remove a manager from a service account', {
          description: 'The id of the user or of the service account. Only admins remove the last one.',
          errors: ['not_found', 'conflict', 'reauthentication_required'],
        }),
      },
    )
