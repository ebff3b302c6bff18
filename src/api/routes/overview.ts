import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { describeInstance } from '../../core/instances/instances.ts'
import { Instance } from '../../core/instances/model.ts'
import { Overview } from '../../core/overview/model.ts'
import { describeOverview } from '../../core/overview/overview.ts'
import type { Guard } from '../auth.ts'
import { describe } from '../openapi/describe.ts'
import { NEEDS } from '../route-table.ts'

/** What happens here, and what runs here. */
export const overviewRoutes = (context: Context, guard: Guard) =>
  new Elysia({ tags: ['Administration'] })
    .use(guard)
    .get('/overview', () => describeOverview(context), {
      ...NEEDS['GET /overview'],
      response: { 200: Overview },
      detail: describe('getOverview', 'What happened in the last 24 hours, and what to look at', {
        description: 'Computed at most every minute, for all servers. Each list has at most 10 items.',
      }),
    })
    .get('/instance', () => describeInstance(context), {
      ...NEEDS['GET /instance'],
      response: { 200: Instance },
      detail: describe('getInstance', 'The server that answers: its version, settings and database', {
        description: 'Secrets are hidden. Also the servers beside it on the same database.',
      }),
    })
