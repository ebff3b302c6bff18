import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { readHomeStatus } from '../../core/regions/home-status.ts'
import { HomeStatus } from '../../core/regions/model.ts'
import { answerQuestion } from '../../core/verifier/answer-question.ts'
import { RegionAnswer, RegionQuestion, ReportReceipt, UsageReport } from '../../core/verifier/model.ts'
import { takeReport } from '../../core/verifier/take-report.ts'
import type { Guard } from '../auth.ts'
import { describe } from '../openapi/describe.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'

/** What the verifiers of regions ask of home. Every question of a region comes from one address, which no limit counts. */
export const regionRoutes = (context: Context, guard: Guard) =>
  new Elysia({ tags: ['Regions'] })
    .use(guard)
    .get('/region/status', () => readHomeStatus(context.db), {
      ...NEEDS['GET /region/status'],
      response: { 200: HomeStatus },
      detail: describe('regionStatus', 'What home says of itself to a region that is checked'),
    })
    .post('/region/verify', ({ body }) => answerQuestion(context, body), {
      ...NEEDS['POST /region/verify'],
      body: RegionQuestion,
      response: { 200: RegionAnswer },
      detail: describe('askHome', 'What comes of the use of a key that was presented in a region'),
    })
    .post('/usage/report', ({ auth, body, state }) => takeReport(context, originOf(state), auth, body), {
      ...NEEDS['POST /usage/report'],
      body: UsageReport,
      response: { 200: ReportReceipt },
      detail: describe('reportUsage', 'Add the usage of a region; the same report again adds nothing'),
    })
