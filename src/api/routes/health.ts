import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { findDifferences } from '../../core/shared-settings/shared-settings.ts'
import { fail } from '../../lib/errors.ts'
import { describe } from '../openapi/describe.ts'
import { prefersPage } from '../pages/answer.tsx'
import { type RequestState, stated } from '../request-state.ts'

const Status = Type.Object({ status: Type.String() }, { $id: 'Status' })
const Readiness = Type.Object(
  {
    status: Type.String(),
    warnings: Type.Optional(
      Type.Array(Type.String(), {
        description: 'Settings that differ from those of the server that started last on this database',
      }),
    ),
  },
  { $id: 'Readiness' },
)

/** Whether the process is shutting down. `/readyz` then fails, and a load balancer sends no new requests. */
export type IsDraining = () => boolean

/** The probes of load balancers and orchestrators: public, and without a rate limit, which would fail a probe. */
export const opsRoutes = (context: Context, isDraining: IsDraining) =>
  new Elysia({ tags: ['Service'] })
    .get('/health', () => ({ status: 'healthy' }), {
      response: { 200: Status },
      detail: describe('getHealth', 'Static: the process answers'),
    })
    .get('/livez', () => ({ status: 'alive' }), {
      response: { 200: Status },
      detail: describe('getLivez', 'The process works'),
    })
    .get(
      '/readyz',
      async () => {
        if (isDraining()) fail('unavailable', { detail: 'This instance is shutting down.' })
        await context.assertReady()
        const warnings = await findDifferences(context)
        return { status: 'ready', ...(warnings.length > 0 && { warnings }) }
      },
      {
        response: { 200: Readiness },
        detail: describe(
          'getReadyz',
          'It can serve: the database takes writes, and it is not shutting down; in a region: the copy is proved to be recent',
        ),
      },
    )

const Root = Type.Object(
  { name: Type.String(), description: Type.String(), docs: Type.String(), openapi: Type.String() },
  { $id: 'Root' },
)

/**
 * The root says what this service is, to a browser by a page. It names no version, which helps an attacker to find an
 * outdated one.
 */
export const rootRoute = (drawPage: (state: RequestState) => Promise<Response>) =>
  new Elysia({ tags: ['Service'] }).use(stated).get(
    '/',
    ({ request, state }) =>
      prefersPage(request)
        ? drawPage(state)
        : {
            name: 'Latchkey',
            description: 'Users, service accounts and API keys for your API',
            docs: '/docs',
            openapi: '/openapi.json',
          },
    {
      response: { 200: Root },
      detail: describe('getRoot', 'What this is and where things are'),
    },
  )
