import { Problem } from '../../lib/errors.ts'

/** Does some work, and adds to a refusal of it what the audit trail names: whom, and what, it concerns. */
export async function namingInAudit<T>(details: Record<string, unknown>, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    const { problem, extra } = error
    throw new Problem(problem, { ...extra, audit: { ...details, ...extra.audit } })
  }
}
