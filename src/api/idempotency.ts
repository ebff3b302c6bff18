import { failField } from '../lib/errors.ts'
import type { RequestState } from './request-state.ts'

const MAX_LENGTH = 255

/**
 * The Idempotency-Key of a request; null: none.
 * @throws Problem validation_failed where it is empty or too long
 */
export function idempotencyKeyOf({ request }: RequestState): string | null {
  const value = request.headers.get('idempotency-key')
  if (value === null || (value.length > 0 && value.length <= MAX_LENGTH)) return value
  return failField('Idempotency-Key', `Must have 1 to ${MAX_LENGTH} characters`)
}

/** Says in a header that the answer is that of an earlier request. */
export function tellReplayed(set: { headers: Record<string, unknown> }, isReplayed: boolean): void {
  if (isReplayed) set.headers['idempotent-replayed'] = 'true'
}
