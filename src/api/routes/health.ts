import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { findDifferences } from '../../core/shared-settings/shared-settings.ts'
import { fail } from '../../lib/errors.ts'
import { describe } from '../openapi/describe.ts'

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

/** Whether the process is on its way out: `/readyz` says so, and the balancer sends nobody new. */
export type IsDraining = () => boolean

/** What a balancer and an orchestrator ask. Not limited, and open to anyone. */
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
        await context.assertWritable()
        const warnings = await findDifferences(context)
        return { status: 'ready', ...(warnings.length > 0 && { warnings }) }
      },
      {
        response: { 200: Readiness },
        detail: describe('getReadyz', 'It can serve: the database takes writes, and it is not shutting down'),
      },
    )

const Root = Type.Object(
  { name: Type.String(), description: Type.String(), docs: Type.String(), openapi: Type.String() },
  { $id: 'Root' },
)

/** What this is and where things are; no version, which would help only those who look for old ones. */
export const rootRoute = () =>
  new Elysia({ tags: ['Service'] }).get(
    '/',
    () => ({
      name: 'Latchkey',
      description: 'Users, service accounts and API keys for your API',
      docs: '/docs',
      openapi: '/openapi.json',
    }),
    {
      response: { 200: Root },
      detail: describe('getRoot', 'What this is and where things are'),
    },
  )
