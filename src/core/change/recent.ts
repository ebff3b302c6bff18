import { fail } from '../../lib/errors.ts'
import { MINUTE_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import type { Operator, Principal } from '../principal.ts'

const RECENT_MS = 10 * MINUTE_MS

/**
 * Asks a person to have proved who they are within the last ten minutes: a stolen access token alone then changes nothing
 * that takes an account over. Keys and the command line are not asked. Called before the work, and within `recordChange`
 * with the caller as reread, since the session's row decides.
 * @throws Problem reauthentication_required
 */
export function requireRecent({ clock }: Pick<Context, 'clock'>, caller: Principal | Operator): void {
  if (caller.kind === 'user' && clock() - caller.authTime.getTime() > RECENT_MS) {
    fail('reauthentication_required')
  }
}
