import type { Context } from '../context.ts'
import type { KeyPrincipal } from '../principal.ts'
import { isAskedAtHome, useKeyAtHome } from './use-key-at-home.ts'
import { type Use, type UseOutcome, useKeyHere } from './use-key-here.ts'

/**
 * Uses a verified key, and counts the use. Address, scopes and rates are checked before anything is charged; credits are
 * charged last. Stays synchronous where the answer already is: one `await` here doubles the cost of a warm request.
 * @returns the outcome, or a promise of it where rates on Redis, the credits or home must be waited for
 * @throws only where the database or home cannot be asked; a refusal is a value
 * @example
 * const outcome = await useKey(context, key, { at: 'keys_verify', scopes: ['read'], cost: DEFAULT_COST, address: null })
 * const problem = problemOf(outcome)
 * if (problem) throw problem
 */
export function useKey(context: Context, key: KeyPrincipal, use: Use): UseOutcome | Promise<UseOutcome> {
  const { region } = context
  return region !== null && isAskedAtHome(region, key, use)
    ? useKeyAtHome(context, region, key, use)
    : useKeyHere(context, key, use)
}
