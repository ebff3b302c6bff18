import { errorCode, violatedConstraint } from '../../db/errors.ts'

/** What became of one user or key; `reason` is a sentence that repeats no secret. */
export type Outcome =
  | { status: 'imported' | 'already_imported'; id: string }
  | { status: 'refused'; reason: string }

export const refused = (reason: string): Outcome => ({ status: 'refused', reason })

/** As often as others may come between, in a row. */
const ATTEMPTS = 3
/** SQLSTATE: a value that its column does not take. */
const UNFIT = /^(22...|23502|23514)$/

/**
 * Decides on one item and writes it, whole or not at all. Where somebody else wrote what stands against it in the same
 * moment, the decision is made anew, in their sight.
 */
export async function decideAnew(work: () => Promise<Outcome>): Promise<Outcome> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (UNFIT.test(errorCode(error) ?? '')) return refused('The database does not take one of its values')
      if (violatedConstraint(error) === null || attempt === ATTEMPTS) throw error
    }
  }
}
