import type { Origin } from '../../core/audit/audit.ts'
import type { Context } from '../../core/context.ts'
import type { SignIn } from '../../core/login/sign-in.ts'
import { endBrowserSession, makeSessionCookie } from '../../core/sessions/browser.ts'
import { formatCookie, readCookie } from './cookie.ts'

/**
 * Gives a browser its new session, and ends the one that its cookie held before: a session that somebody else planted
 * there is worth nothing once its victim signs in.
 * @returns the `Set-Cookie` header
 */
export async function beginInBrowser(
  context: Context,
  origin: Origin,
  request: Request,
  { session }: SignIn,
): Promise<string> {
  await endBrowserSession(context, origin, readCookie(context.config, request))
  const { value, maxAgeSeconds } = makeSessionCookie(context, session)
  return formatCookie(context.config, value, maxAgeSeconds)
}
