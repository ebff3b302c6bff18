import { catalogue, Problem } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import { MINUTE_MS } from '../../lib/time.ts'
import type { Origin } from '../audit/audit.ts'
import { isDocumentKnown } from '../client-metadata/resolve-client.ts'
import type { ClientRow } from '../clients/rows.ts'
import type { Context } from '../context.ts'
import { findGrant, type GrantRow } from '../grants/grants.ts'
import { isEnrolmentDue } from '../second-factors/enrolment.ts'
import type { BrowserSession } from '../sessions/browser.ts'
import { isCodeChallenge, issueCode } from './codes.ts'
import { type ConsentView, describeRequest } from './describe-request.ts'
import { asksForLogin, withAskedAt } from './login-time.ts'
import { insertRequest } from './queries.ts'
import { mayRedirect, namesDocument, resolveClient, skipsConsent } from './resolve-client.ts'
import { type Asked, grantable, readAsked } from './target.ts'

/** What follows a request of an app for a person's authorization. */
export type Outcome =
  /** It is answered here: neither client nor redirect URI are proven right. */
  | { kind: 'refused'; sentence: string }
  /** The browser goes on to the client. */
  | { kind: 'redirect'; to: string }
  /** The person signs in first, or sets up a second factor, and comes back with this query. */
  | { kind: 'sign_in' | 'enrol'; query: string }
  | { kind: 'consent'; view: ConsentView }

/** A longer query does not travel through the log-in. */
const MAX_QUERY_LENGTH = 6000
/** A person has so long to answer. */
const REQUEST_LASTS_MS = 10 * MINUTE_MS

/** An error of OAuth's own that goes to the client. */
class Refusal extends Error {
  readonly error: string
  constructor(error: string, description: string) {
    super(description)
    this.error = error
  }
}

/** What a request asks, when client and redirect URI are proven right. */
type Request = {
  client: ClientRow
  redirectUri: string
  params: URLSearchParams
  /** May stand there more than once, unlike the others. */
  resource: readonly string[]
  prompts: readonly string[]
}

/**
 * Decides on a request of an app for a person's authorization (oauth.md, section 4).
 * @param query of the URL, as it was sent
 * @param here the browser session; null: no one is signed in
 */
export async function authorize(
  context: Context,
  origin: Origin,
  query: string,
  here: BrowserSession | null,
): Promise<Outcome> {
  const stranger = here ? null : askStranger(context, query)
  if (stranger) return stranger
  const read = await readRequest(context, origin, query, here)
  if ('refused' in read) return { kind: 'refused', sentence: read.refused }
  const { request } = read
  try {
    return await decide(context, origin, request, here)
  } catch (error) {
    const { redirectUri, params } = request
    const state = params.get('state')
    if (error instanceof Refusal) {
      const answer = { error: error.error, error_description: error.message }
      return { kind: 'redirect', to: redirectTo(context, redirectUri, answer, state) }
    }
    if (error instanceof Problem && catalogue[error.problem][0] === 400) {
      const answer = problemAnswer(error)
      return { kind: 'redirect', to: redirectTo(context, redirectUri, answer, state) }
    }
    throw error
  }
}

const problemAnswer = ({ problem, extra }: Problem) => ({
  error: problem,
  error_description: extra.detail ?? catalogue[problem][2],
})

/** Client and redirect URI, proven right; else why not. An empty parameter counts as missing (RFC 6749, section 3.1). */
async function readRequest(
  context: Context,
  origin: Origin,
  query: string,
  here: BrowserSession | null,
): Promise<{ request: Request } | { refused: string }> {
  if (query.length > MAX_QUERY_LENGTH) return { refused: 'The request of the app is too long.' }
  const all = [...new URLSearchParams(query)].filter(([, value]) => value !== '')
  const params = new URLSearchParams(all)
  if (all.some(([, value]) => value.includes('\0')))
    return { refused: 'The request of the app cannot be read.' }
  const names = all.map(([name]) => name).filter((name) => name !== 'resource')
  if (new Set(names).size < names.length) return { refused: 'The app sent a parameter twice.' }
  const clientId = params.get('client_id')
  const client = clientId === null ? null : await resolveFor(context, origin, here, clientId)
  if (client && 'refused' in client) return client
  if (!client) return { refused: 'The app that sent you here is not known here.' }
  const redirectUri = params.get('redirect_uri')
  if (redirectUri === null || !mayRedirect(client, redirectUri))
    return { refused: 'The app wants you sent to a place that is not registered for it.' }
  const resource = params.getAll('resource')
  const prompts = (params.get('prompt') ?? '').split(' ').filter((word) => word !== '')
  return { request: { client, redirectUri, params, resource, prompts } }
}

/**
 * An app that describes itself by a document which is not known here is read only for a person who has signed in.
 * @returns null where the request can be read now
 */
function askStranger(context: Context, query: string): Outcome | null {
  const params = new URLSearchParams(query)
  const [clientId = '', another] = params.getAll('client_id')
  if (another !== undefined || query.length > MAX_QUERY_LENGTH) return null
  if (!namesDocument(clientId) || isDocumentKnown(context, clientId)) return null
  const prompts = (params.get('prompt') ?? '').split(' ')
  if (prompts.includes('none'))
    return { kind: 'refused', sentence: 'Sign in first, then start again in the app.' }
  const asksForNew = prompts.includes('login') || params.has('max_age')
  return { kind: 'sign_in', query: asksForNew ? withAskedAt(context, params) : params.toString() }
}

/** The client, or why its document is refused. */
async function resolveFor(context: Context, origin: Origin, here: BrowserSession | null, clientId: string) {
  try {
    return await resolveClient(context, origin, here?.principal ?? null, clientId)
  } catch (error) {
    if (!(error instanceof Problem) || error.problem !== 'invalid_request') throw error
    return { refused: error.extra.detail ?? catalogue.invalid_request[2] }
  }
}

async function decide(
  context: Context,
  origin: Origin,
  request: Request,
  here: BrowserSession | null,
): Promise<Outcome> {
  const { client, redirectUri, params, resource, prompts } = request
  const codeChallenge = requireForm(request)
  const asked = await readAsked(context, client, { resource, scope: params.get('scope') ?? undefined })
  const isSilent = prompts.includes('none')
  const loginRequired = (): never => {
    throw new Refusal('login_required', 'The person has to sign in.')
  }
  if (!here) return isSilent ? loginRequired() : { kind: 'sign_in', query: queryOfLogin(context, request) }
  const query = asksForLogin(context, params, here.session.authTime)
  if (query !== null) return isSilent ? loginRequired() : { kind: 'sign_in', query }
  if (isEnrolmentDue(context.config, here.user))
    return isSilent ? loginRequired() : { kind: 'enrol', query: params.toString() }

  const { user } = here
  const grants = { ...asked, scopes: grantable(context, client, user, asked) }
  const before = await findGrant(context.db, { userId: user.id, clientId: client.id, target: asked.target })
  const isFree = skipsConsent(client, redirectUri)
  const isAllowed = (grant: GrantRow | null) => isFree || isRemembered(redirectUri, grants, grant)
  const [state, nonce] = [params.get('state'), params.get('nonce')]
  if (isAllowed(before) && !prompts.includes('consent')) {
    const code = await issueCode(context, origin, here.principal, {
      client,
      redirectUri,
      asked: grants,
      codeChallenge,
      nonce,
      isAllowed,
    })
    if (code !== null) return { kind: 'redirect', to: redirectTo(context, redirectUri, { code }, state) }
  }
  if (isSilent) throw new Refusal('consent_required', 'The person has to allow it.')
  // The row of a request that names no scope of Latchkey's own API is one for all that the person has.
  if (client.scopes === null && asked.target.audience === 'users' && grants.scopes?.length === 0)
    throw new Refusal('access_denied', 'None of these scopes is left for this person.')
  const now = context.clock()
  const row = {
    id: newId(),
    sessionId: here.session.id,
    clientId: client.id,
    redirectUri,
    audience: asked.target.audience,
    resourceId: asked.target.resource?.id ?? null,
    scopes: [...grants.identityScopes, ...(grants.scopes ?? [])],
    state,
    nonce,
    codeChallenge,
    createdAt: new Date(now),
    expiresAt: new Date(now + REQUEST_LASTS_MS),
    usedAt: null,
  }
  await insertRequest(context.db, row)
  return {
    kind: 'consent',
    view: await describeRequest(context, here, { request: row, client, resource: asked.target.resource }),
  }
}

/**
 * Checks what does not depend on the person.
 * @returns the challenge of PKCE
 */
function requireForm({ client, params, prompts }: Request): string {
  const refuse = (error: string, description: string): never => {
    throw new Refusal(error, description)
  }
  if (params.has('request')) refuse('request_not_supported', 'Send the parameters themselves.')
  if (params.has('request_uri')) refuse('request_uri_not_supported', 'Send the parameters themselves.')
  if (!params.has('response_type')) refuse('invalid_request', 'response_type is missing.')
  if (params.get('response_type') !== 'code')
    refuse('unsupported_response_type', 'response_type must be code.')
  if ((params.get('response_mode') ?? 'query') !== 'query')
    refuse('invalid_request', 'response_mode must be query.')
  if (!client.grants.includes('authorization_code'))
    refuse('unauthorized_client', 'The client may not use this grant.')
  const challenge = params.get('code_challenge') ?? ''
  if (!isCodeChallenge(challenge))
    refuse('invalid_request', 'code_challenge is missing, or is none of S256 (RFC 7636).')
  if (params.get('code_challenge_method') !== 'S256')
    refuse('invalid_request', 'code_challenge_method must be S256.')
  if (prompts.includes('none') && prompts.length > 1) refuse('invalid_request', 'prompt=none stands alone.')
  const maxAge = params.get('max_age')
  if (maxAge !== null && !/^\d{1,9}$/.test(maxAge))
    refuse('invalid_request', 'max_age must be a number of seconds.')
  return challenge
}

/** The log-in of a person who is not signed in also meets `prompt=login` and `max_age`. */
function queryOfLogin(context: Context, { params, prompts }: Request): string {
  const asksForNew = prompts.includes('login') || params.has('max_age')
  return asksForNew ? withAskedAt(context, params) : params.toString()
}

/** Whether a person has allowed all of this before, to an app whose answer no other program can take. */
function isRemembered(
  redirectUri: string,
  { scopes, identityScopes }: Asked,
  grant: GrantRow | null,
): boolean {
  if (!grant || !redirectUri.startsWith('https:')) return false
  // All that the person has cannot be compared with what was allowed before.
  if (scopes === null) return false
  return [...scopes, ...identityScopes].every((scope) => grant.scopes.includes(scope))
}

/** Where a client is answered: by its redirect URI, byte for byte, and with what the answer says. */
export function redirectTo(
  { config }: Pick<Context, 'config'>,
  redirectUri: string,
  answer: Record<string, string>,
  state: string | null,
): string {
  const params = new URLSearchParams({ ...answer, ...(state !== null && { state }), iss: config.publicUrl })
  return `${redirectUri}${redirectUri.includes('?') ? '&' : '?'}${params}`
}
