import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import {
  changeClient,
  createClient,
  listClients,
  removeClient,
  requireClient,
} from '../../core/clients/clients.ts'
import {
  ClientSource,
  NewClientSecret,
  NewOAuthClient,
  OAuthClient,
  OAuthClientPage,
  OAuthClientPatch,
  OAuthClientWithSecret,
} from '../../core/clients/model.ts'
import { addClientSecret, endClientSecret } from '../../core/clients/secrets.ts'
import type { Context } from '../../core/context.ts'
import type { Guard } from '../auth.ts'
import { describe, noContent } from '../openapi/describe.ts'
import { pageQuery } from '../page.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'

const ClientQuery = Type.Object({ source: Type.Optional(ClientSource), ...pageQuery })

/** The apps that act for people. */
export const clientRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/oauth/clients', tags: ['Apps'] })
    .use(guard)
    .post(
      '/',
      async ({ auth, body, state, status }) =>
        status(201, await createClient(context, originOf(state), auth, body)),
      {
        ...NEEDS['POST /oauth/clients'],
        body: NewOAuthClient,
        response: { 201: OAuthClientWithSecret },
        detail: describe('createOAuthClient', 'Register an app', {
          description:
            'A confidential app gets a secret, which is shown this once, unless it has keys (`jwks` or `jwks_uri`).',
          errors: ['reauthentication_required'],
        }),
      },
    )
    .get('/', ({ query }) => listClients(context, query), {
      ...NEEDS['GET /oauth/clients'],
      query: ClientQuery,
      response: { 200: OAuthClientPage },
      detail: describe('listOAuthClients', 'Apps, newest first'),
    })
    .get('/:id', ({ params }) => requireClient(context, params.id), {
      ...NEEDS['GET /oauth/clients/:id'],
      response: { 200: OAuthClient },
      detail: describe('getOAuthClient', 'One app', { errors: ['not_found'] }),
    })
    .patch(
      '/:id',
      ({ auth, body, params, state }) => changeClient(context, originOf(state), auth, params.id, body),
      {
        ...NEEDS['PATCH /oauth/clients/:id'],
        body: OAuthClientPatch,
        response: { 200: OAuthClient },
        detail: describe('changeOAuthClient', 'Change an app, or disable it', {
          description:
            'Disabling it ends all its sessions. What people allowed stays, and is unusable meanwhile. Of an app that no admin registered, only `is_active` can be changed.',
          errors: ['not_found', 'conflict', 'reauthentication_required'],
        }),
      },
    )
    .delete(
      '/:id',
      async ({ auth, params, state, status }) => {
        await removeClient(context, originOf(state), auth, params.id)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /oauth/clients/:id'],
        response: noContent('Deleted, with all that people allowed it'),
        detail: describe('deleteOAuthClient', 'Delete an app, and end all its sessions', {
          errors: ['not_found', 'reauthentication_required'],
        }),
      },
    )
    .post(
      '/:id/secrets',
      async ({ auth, body, params, state, status }) =>
        status(201, await addClientSecret(context, originOf(state), auth, params.id, body)),
      {
        ...NEEDS['POST /oauth/clients/:id/secrets'],
        body: NewClientSecret,
        response: { 201: OAuthClientWithSecret },
        detail: describe('addOAuthClientSecret', 'Give a confidential app another secret', {
          description: 'The present one works until the end of the overlap. At most two are live.',
          errors: ['not_found', 'conflict', 'reauthentication_required'],
        }),
      },
    )
    .delete(
      '/:id/secrets/:secret_id',
      async ({ auth, params, state, status }) => {
        await endClientSecret(context, originOf(state), auth, params.id, params.secret_id)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /oauth/clients/:id/secrets/:secret_id'],
        response: noContent('Ended'),
        detail: describe('endOAuthClientSecret', 'End a secret of an app at once', {
          description: 'Its sessions go on; the next refresh needs a live secret.',
          errors: ['not_found', 'reauthentication_required'],
        }),
      },
    )
