import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { endOwnPortalSession, endPortalSession } from '../../core/portal/end.ts'
import { exchangePortalLink } from '../../core/portal/exchange.ts'
import { makePortalSession } from '../../core/portal/make.ts'
import { NewPortalSession, PortalAccess, PortalSession, PortalToken } from '../../core/portal/model.ts'
import type { Guard } from '../auth.ts'
import { describe, noContent } from '../openapi/describe.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'

/** Sessions of customers in the portal. The page itself is in `portal.ts` of `api/`. */
export const portalRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/portal', tags: ['Customer portal'] })
    .use(guard)
    .post(
      '/sessions',
      async ({ auth, body, state, status }) =>
        status(201, await makePortalSession(context, originOf(state), auth, body)),
      {
        ...NEEDS['POST /portal/sessions'],
        body: NewPortalSession,
        response: { 201: PortalSession },
        detail: describe('makePortalSession', 'Make a portal session for one owner, and the link to it', {
          description:
            'For the back end of a product: send the customer to `url`, or show it in a frame. A key makes sessions for the service accounts that its owner manages.',
          errors: ['not_found', 'forbidden', 'conflict', 'reauthentication_required'],
        }),
      },
    )
    .delete(
      '/sessions/:id',
      async ({ auth, params, state, status }) => {
        await endPortalSession(context, originOf(state), auth, params.id)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /portal/sessions/:id'],
        response: noContent(),
        detail: describe('endPortalSession', 'End a portal session: its maker, or an admin', {
          errors: ['not_found', 'insufficient_scope'],
        }),
      },
    )
    .post('/exchange', ({ body, state }) => exchangePortalLink(context, originOf(state), body.token), {
      ...NEEDS['POST /portal/exchange'],
      body: PortalToken,
      response: { 200: PortalAccess },
      detail: describe('exchangePortalLink', 'Exchange the token of a portal link, once, for a bearer', {
        errors: ['invalid_token'],
      }),
    })
    .delete(
      '/session',
      async ({ auth, state, status }) => {
        await endOwnPortalSession(context, originOf(state), auth)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /portal/session'],
        response: noContent(),
        detail: describe('endOwnPortalSession', 'End the portal session that calls'),
      },
    )
