import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { countTowardsDeadline, remainingMs } from '../../lib/deadline.ts'
import { Problem } from '../../lib/errors.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { Secret } from '../../lib/secret.ts'
import { SECOND_MS } from '../../lib/time.ts'
import { RegionAnswer, type RegionQuestion, ReportReceipt, type UsageReport } from './model.ts'

/** What a verifier sends home, over HTTP on connections that are kept alive. */
export type Home = {
  /**
   * Asks a question about a key. It is sent once: home may have charged the key although its answer is lost.
   * @throws Problem unavailable where home does not answer within 500 ms
   */
  ask(question: RegionQuestion): Promise<RegionAnswer>
  /**
   * Asks what a refresh token is: a region has no part of it.
   * @returns home's answer, as it is
   * @throws Problem unavailable, likewise
   */
  introspect(token: string): Promise<{ active: boolean }>
  /** Sends usage. @throws where home did not take it */
  report(report: UsageReport): Promise<ReportReceipt>
}

/** What every introspection says; the rest is handed on. */
const Active = Type.Object({ active: Type.Boolean() })

const QUESTION_MS = 500
const REPORT_MS = 10 * SECOND_MS

/** @param key null: HOME_KEY is not set, and every question is answered 503 */
export function createHome(
  url: string,
  key: Secret | null,
  { homeQuestions }: Pick<Metrics, 'homeQuestions'>,
): Home {
  const send = async (path: string, body: string, type: string, waitMs: number): Promise<unknown> => {
    if (key === null) throw new Error('HOME_KEY is not set')
    const response = await fetch(url + path, {
      method: 'POST',
      headers: { authorization: `Bearer ${key.reveal()}`, 'content-type': type },
      body,
      // Another address would get HOME_KEY.
      redirect: 'error',
      signal: AbortSignal.timeout(waitMs),
    })
    const text = await response.text()
    if (response.status !== 200) throw new Error(`Home answered ${response.status} at ${path}`)
    return JSON.parse(text)
  }
  const sendJson = async <S extends TSchema>(path: string, json: object, shape: S, waitMs: number) => {
    const answer = await send(path, JSON.stringify(json), 'application/json', waitMs)
    if (!Value.Check(shape, answer)) throw new Error(`Home's answer at ${path} cannot be read`)
    return answer as Static<S>
  }
  /** Home has 500 ms, or what the request may still wait in all. */
  const question = <T>(asking: (waitMs: number) => Promise<T>): Promise<T> =>
    countTowardsDeadline(async () => {
      try {
        const waitMs = Math.floor(Math.min(QUESTION_MS, remainingMs()))
        if (waitMs <= 0) throw new Error('The request has waited too long')
        const answer = await asking(waitMs)
        homeQuestions.answered += 1
        return answer
      } catch (cause) {
        homeQuestions.failed += 1
        throw new Problem('unavailable', {
          detail: 'Home has to be asked about this, and did not answer.',
          cause,
        })
      }
    })

  return {
    ask: (asked) => question((waitMs) => sendJson('/region/verify', asked, RegionAnswer, waitMs)),
    introspect: (token) =>
      question(async (waitMs) => {
        const form = new URLSearchParams({ token }).toString()
        const type = 'application/x-www-form-urlencoded'
        const answer = await send('/oauth/introspect', form, type, waitMs)
        if (!Value.Check(Active, answer)) throw new Error("Home's introspection cannot be read")
        return answer
      }),
    report: (report) => sendJson('/usage/report', report, ReportReceipt, REPORT_MS),
  }
}
