import { Type } from '@sinclair/typebox'
import { Elysia, t } from 'elysia'
import type { Context } from '../../core/context.ts'
import { USAGE_BUCKETS, USAGE_GROUPS, UsageTotals } from '../../core/usage/model.ts'
import { describeTotals } from '../../core/usage/totals.ts'
import { Instant, wordOf } from '../../lib/model.ts'
import type { Guard } from '../auth.ts'
import { describe } from '../openapi/describe.ts'
import { queryInteger } from '../page.ts'
import { NEEDS } from '../route-table.ts'

const MAX_TOP = 50

const TotalsQuery = Type.Object(
  {
    from: Type.Optional(Instant),
    to: Type.Optional(Instant),
    bucket: Type.Optional(wordOf(USAGE_BUCKETS, '`hour`: at most 31 days; `day`: at most 366')),
    time_zone: Type.Optional(Type.String({ maxLength: 64, description: 'Of IANA; UTC unless given' })),
    group: Type.Optional(wordOf(USAGE_GROUPS, 'What `top` lists: keys, owners, or nothing')),
    limit: t.Optional(queryInteger('limit', 1, MAX_TOP, 'Of `top`; 10 unless given')),
    user_id: Type.Optional(Type.String({ maxLength: 64 })),
    service_account_id: Type.Optional(Type.String({ maxLength: 64 })),
    external_id: Type.Optional(Type.String({ maxLength: 255 })),
  },
  { additionalProperties: false },
)

/** Uses of many keys together. */
export const usageRoutes = (context: Context, guard: Guard) =>
  new Elysia({ tags: ['API keys'] })
    .use(guard)
    .get('/usage', ({ auth, query }) => describeTotals(context, auth, query), {
      ...NEEDS['GET /usage'],
      query: TotalsQuery,
      response: { 200: UsageTotals },
      detail: describe('getUsage', 'How often keys were used, by time and outcome', {
        description:
          'Of the own keys; for admins and support of everybody; or of one owner or external id. The last 24 hours unless asked otherwise; the hour that `from` lies in counts.',
        errors: ['not_found'],
      }),
    })
