import { texts } from '../texts.ts'

/** An error of the API, or of the way there (status 0). `detail` is shown as it is. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly requestId: string | null = null,
    readonly fields: readonly { path: string; message: string }[] = [],
    readonly members: Record<string, unknown> = {},
  ) {
    super(detail)
  }
}

/** What the API answered in place of what was asked for (RFC 9457). */
export function refusalOf(status: number, body: unknown): Refusal {
  const problem = typeof body === 'object' && body !== null ? (body as Record<string, unknown>) : {}
  const text = (name: string) => (typeof problem[name] === 'string' ? problem[name] : null)
  const fields = Array.isArray(problem.errors) ? problem.errors : []
  const detail = text('detail') ?? texts.errors.strange(status)
  return new Refusal(status, text('code') ?? 'unknown', detail, text('request_id'), fields, problem)
}

/** Any error as a refusal: without an answer there is no status. */
export const asRefusal = (error: unknown): Refusal =>
  error instanceof Refusal ? error : new Refusal(0, 'unreachable', texts.errors.unreachable)
