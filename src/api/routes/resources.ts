import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { NewResource, Resource, ResourcePage, ResourcePatch } from '../../core/resources/model.ts'
import {
  changeResource,
  createResource,
  listResources,
  removeResource,
  requireResource,
} from '../../core/resources/resources.ts'
import type { Guard } from '../auth.ts'
import { describe, noContent } from '../openapi/describe.ts'
import { PageQuery } from '../page.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'

/** The APIs for which apps get access tokens. */
export const resourceRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/resources', tags: ['Apps'] })
    .use(guard)
    .post(
      '/',
      async ({ auth, body, state, status }) =>
        status(201, await createResource(context, originOf(state), auth, body)),
      {
        ...NEEDS['POST /resources'],
        body: NewResource,
        response: { 201: Resource },
        detail: describe('createResource', 'Register an API for which apps get access tokens', {
          description:
            '`identifier` is an https URL, or http on this machine, and never changes: it is the `aud` of each token.',
          errors: ['conflict', 'reauthentication_required'],
        }),
      },
    )
    .get('/', ({ query }) => listResources(context, query), {
      ...NEEDS['GET /resources'],
      query: PageQuery,
      response: { 200: ResourcePage },
      detail: describe('listResources', "Registered APIs, newest first, and Latchkey's own", {
        description: "Latchkey's own resource is the last one.",
      }),
    })
    .get('/:id', ({ params }) => requireResource(context, params.id), {
      ...NEEDS['GET /resources/:id'],
      response: { 200: Resource },
      detail: describe('getResource', 'One registered API', { errors: ['not_found'] }),
    })
    .patch(
      '/:id',
      ({ auth, body, params, state }) => changeResource(context, originOf(state), auth, params.id, body),
      {
        ...NEEDS['PATCH /resources/:id'],
        body: ResourcePatch,
        response: { 200: Resource },
        detail: describe(
          'changeResource',
          "Change a registered API's name, slug, scopes, lifetime or state",
          {
            description:
              'Disabling it ends the session of every app for it. What people allowed stays, and is unusable meanwhile.',
            errors: ['not_found', 'conflict', 'reauthentication_required'],
          },
        ),
      },
    )
    .delete(
      '/:id',
      async ({ auth, params, state, status }) => {
        await removeResource(context, originOf(state), auth, params.id)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /resources/:id'],
        response: noContent('Deleted, with all that people allowed for it'),
        detail: describe('deleteResource', 'Delete a registered API, and end every session for it', {
          errors: ['not_found', 'conflict', 'reauthentication_required'],
        }),
      },
    )
