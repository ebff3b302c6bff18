import { expect, test } from 'bun:test'
import { call } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

/** A service with an admin. Each test has its own, so that they wait at the same time. */
function useOverview() {
  const service = useService()
  const sql = useSql(service)
  const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
  return {
    ask: (route: string) => call(service, route, { bearer: admin.access }),
    /** Makes every read of the audit trail wait, while the overview is computed for the first time. */
    async slowly(seconds: number, work: () => Promise<void>) {
      await sql`DELETE FROM latchkey.overview`
      const held = await sql.reserve()
      await held`BEGIN`
      await held`LOCK TABLE latchkey.audit_events IN ACCESS EXCLUSIVE MODE`
      const released = Bun.sleep(seconds * 1000).then(() => held`ROLLBACK`)
      try {
        await work()
      } finally {
        await released
        held.release()
      }
    },
  }
}
const one = useOverview()
const other = useOverview()

test.concurrent('an overview may take longer to compute than the statement of another request', async () => {
  const { ask, slowly } = one
  await slowly(5, async () => {
    const answers = await Promise.all([ask('GET /overview'), ask('GET /audit')])
    expect(answers.map(({ status }) => status)).toEqual([200, 503])
  })
}, 240_000)

test.concurrent('an overview that takes more than ten seconds is given up, and leaves nothing behind', async () => {
  const { ask, slowly } = other
  await slowly(14, async () => {
    const started = performance.now()
    expectProblem(await ask('GET /overview'), 'unavailable')
    expect(performance.now() - started).toBeWithin(9000, 13_900)
  })
  expect((await ask('GET /overview')).status).toBe(200)
}, 240_000)
