import { fail } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import type { Origin } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { isEnrolmentDue } from '../second-factors/enrolment.ts'
import type { BrowserSession } from '../sessions/browser.ts'
import { partScopes } from './allow-app.ts'
import { redirectTo } from './authorize.ts'
import { issueCode } from './codes.ts'
import { type ConsentView, describeRequest, isEverything } from './describe-request.ts'
import { findRequest, useRequest } from './queries.ts'
import { asPresent, mayRedirect } from './resolve-client.ts'

/** What a person answers to an app's request. `ticked`: names of scopes, of which only those of the request count. */
export type Answer = { requestId: string; isAllowed: boolean; ticked: readonly string[] }

/** Where the browser goes on; or the page again, where nothing was ticked; or why there is nothing to answer. */
export type Answered =
  | { kind: 'redirect'; to: string }
  | { kind: 'again'; view: ConsentView }
  | { kind: 'refused'; sentence: string }

const GONE: Answered = {
  kind: 'refused',
  sentence: 'This was answered already, or it took too long. Go back to the app and start again.',
}

/**
 * Takes a person's answer to an app's request. All that decides is read from the request's row: the form names the row, and
 * what was ticked. The row is used once, by the browser session for which it was made.
 */
export async function answerRequest(
  context: Context,
  origin: Origin,
  here: BrowserSession,
  { requestId, isAllowed, ticked }: Answer,
): Promise<Answered> {
  const now = new Date(context.clock())
  const found = isId(requestId) ? await findRequest(context.db, requestId, here.session.id, now) : null
  if (!found?.client.isActive) return GONE
  if (!mayRedirect(asPresent(context, found.client), found.request.redirectUri)) return GONE
  const { request, client, resource } = found
  const { redirectUri, state } = request
  if (!isAllowed) {
    if (!(await useRequest(context.db, request.id, here.session.id, now))) return GONE
    const answer = { error: 'access_denied', error_description: 'The person did not allow it.' }
    return { kind: 'redirect', to: redirectTo(context, redirectUri, answer, state) }
  }
  // The page was made before the person had to set up a second factor.
  if (isEnrolmentDue(context.config, here.user)) return GONE
  const chosen = request.scopes.filter((scope) => scope === 'openid' || ticked.includes(scope))
  const all = isEverything(request)
  if (chosen.length === 0 && request.scopes.length > 0 && !all)
    return { kind: 'again', view: await describeRequest(context, here, found) }
  const { scopes, identityScopes } = partScopes(chosen)
  const code = await issueCode(context, origin, here.principal, {
    client,
    redirectUri,
    asked: {
      target: { audience: request.audience, resource },
      scopes: all && client.scopes === null ? null : scopes,
      identityScopes,
    },
    codeChallenge: request.codeChallenge,
    nonce: request.nonce,
    isAllowed: () => true,
    removed: request.scopes.filter((scope) => !chosen.includes(scope)),
    async use({ tx, now }) {
      if (!(await useRequest(tx, request.id, here.session.id, now))) fail('conflict')
    },
  })
  return code === null ? GONE : { kind: 'redirect', to: redirectTo(context, redirectUri, { code }, state) }
}
