import { RemainingCredits, TopUp } from '../core/credits/model.ts'
import type { ToppedUp, TopUpRequest } from '../core/credits/top-up.ts'
import { idempotencyKeyOf, tellReplayed } from './idempotency.ts'
import { describe } from './openapi/describe.ts'
import type { RequestState } from './request-state.ts'

/** The shapes of the routes that top credits up. */
export const TOPS_UP = { body: TopUp, response: { 200: RemainingCredits } }

export const describeTopUp = (operationId: string, of: string) =>
  describe(operationId, `Add to the credits of ${of}, take away, or set them`, {
    description:
      'A refill that is due is made first. With an Idempotency-Key, a repeated request changes nothing, and has the first answer again, with `Idempotent-Replayed: true`.',
    errors: ['not_found', 'forbidden', 'conflict', 'reauthentication_required'],
  })

/**
 * Answers a request that tops credits up.
 * @param path of the request, without a prefix of a proxy
 */
export async function answerTopUp(
  { body, state, set }: { body: TopUp; state: RequestState; set: { headers: Record<string, unknown> } },
  path: string,
  topUp: (request: TopUpRequest) => Promise<ToppedUp>,
): Promise<RemainingCredits> {
  const { remaining, isReplayed } = await topUp({
    path,
    input: body,
    idempotencyKey: idempotencyKeyOf(state),
  })
  tellReplayed(set, isReplayed)
  return { remaining }
}
