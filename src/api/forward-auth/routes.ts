import type { BunRequest } from 'bun'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import type { Holder } from '../../core/principal.ts'
import { findProtectedResource, type ProtectedResource } from '../../core/protected-resources/find.ts'
import { isMadeFor } from '../../core/verify/made-for.ts'
import { BEARER_CHALLENGE, fail, Problem } from '../../lib/errors.ts'
import { challengeOfResource } from '../../lib/resource-metadata.ts'
import { recogniseCredential } from '../credential.ts'
import { answerError } from '../errors.ts'
import type { Observed } from '../observe.ts'
import { describe } from '../openapi/describe.ts'
import { type ErrorAnswer, problemAnswer } from '../problem.ts'
import type { Limits } from '../rate-limit.ts'
import type { RequestState } from '../request-state.ts'
import { decide } from './decide.ts'
import { identityOf } from './identity.ts'
import { ANYBODY, type Policy, parsePolicy } from './policy.ts'

const PATH = '/forward-auth'

/** A request that Bun's own router has chosen, by its target as it came. */
type Asked = BunRequest<'/forward-auth/:policy'>

/** The policy of a target, or what is wrong with it. */
type PolicyOf = (request: Asked) => Policy | { fault: string }

/**
 * The routes under `/forward-auth`, for Bun's own router, which reads the target as it came over the wire. Elysia sees what
 * a URL parser made of the target. Envoy puts the client's path behind the policy, and `/../` in that path could turn it
 * into another policy or another route (docs/decisions/0010). Every method asks the same question, OPTIONS too; the body is
 * never read.
 */
export function forwardAuth(context: Context, limits: Limits, observed: Observed) {
  const answerBy = (policyOf: PolicyOf) =>
    observed((request, state) => {
      state.route = PATH
      const asking: Asking = { policy: ANYBODY, resource: null }
      const refuse = (error: unknown) => respond(challenge(answerError(context, error, state), asking))
      try {
        context.region?.freshness.require()
        const answer = ask(context, limits, state, policyOf(request as Asked), asking)
        return answer instanceof Promise ? answer.catch(refuse) : answer
      } catch (error) {
        return refuse(error)
      }
    })
  const byPath = answerBy(policyOfPath)
  return {
    [PATH]: answerBy(policyOfQuery),
    [`${PATH}/*`]: byPath,
    [`${PATH}/:policy`]: byPath,
    [`${PATH}/:policy/*`]: byPath,
  }
}

/** The policy is everything after the first `?`. Without one, any valid credential is enough. */
function policyOfQuery({ url }: Request): Policy | { fault: string } {
  const start = url.indexOf('?')
  return start === -1 ? ANYBODY : parsePolicy(url.slice(start + 1))
}

/**
 * The policy is the first segment after `/forward-auth/`; what follows is the client's. Bun decodes the segment. Where the
 * path of the parsed URL does not begin with the same segment, the segment was encoded, or `/../` went past it. Without a
 * valid Host header there is no URL to compare with.
 */
function policyOfPath({ url, params }: Asked): Policy | { fault: string } {
  const text = params.policy ?? ''
  const asked = `${PATH}/${text}`
  const parsed = URL.parse(url)?.pathname
  if (parsed !== asked && !parsed?.startsWith(`${asked}/`))
    return { fault: 'The policy is encoded, the path climbs past it, or the Host header is invalid' }
  return text === 'any' ? ANYBODY : parsePolicy(text)
}

/** What a proxy asks for; `resource`: the one that the policy names, once it is found. */
type Asking = { policy: Policy; resource: ProtectedResource | null }

function ask(
  context: Context,
  limits: Limits,
  state: RequestState,
  policy: Policy | { fault: string },
  asking: Asking,
): Response | Promise<Response> {
  if ('fault' in policy) return refusePolicy(context, limits, state, policy.fault)
  asking.policy = policy
  if (policy.resource === null) return askBy(context, limits, state, asking)
  const answer = (resource: ProtectedResource | null) => {
    if (resource === null) return refusePolicy(context, limits, state, 'No resource has this slug')
    asking.resource = resource
    return askBy(context, limits, state, asking)
  }
  const found = findProtectedResource(context, policy.resource)
  return found instanceof Promise ? found.then(answer) : answer(found)
}

function askBy(
  context: Context,
  limits: Limits,
  state: RequestState,
  asking: Asking,
): Response | Promise<Response> {
  const answer = (): Response | Promise<Response> => {
    if (state.credential.kind !== 'verified') return refuseUnknown(limits, state)
    const { principal } = state.credential
    if (principal.kind === 'portal' || !isMadeFor(principal, asking.resource?.identifier ?? null))
      return refuseElsewhere(limits, state)
    state.credential = { kind: 'accepted', principal }
    const decision = decide(context, principal, asking.policy, state)
    return decision instanceof Promise
      ? decision.then((problem) => conclude(context, state, holderOf(state, principal), problem, asking))
      : conclude(context, state, principal, decision, asking)
  }
  const recognising = recogniseCredential(context, () => true, state)
  return recognising ? recognising.then(answer) : answer()
}

/** The caller as home knows it, where home was asked. */
function holderOf({ credential }: RequestState, principal: Holder): Holder {
  return credential.kind === 'accepted' && credential.principal.kind === 'key'
    ? credential.principal
    : principal
}

function conclude(
  { region }: Context,
  state: RequestState,
  principal: Holder,
  problem: Problem | null,
  asking: Asking,
): Response {
  if (problem !== null)
    return respond(challenge(problemAnswer(problem.problem, problem.extra, state), asking))
  const headers = identityOf(principal)
  const asOf = region === null ? null : region.freshness.asOf()
  return new Response(null, { headers: asOf === null ? headers : { ...headers, 'X-Auth-As-Of': asOf } })
}

/** Where a resource is protected, 401 and 403 say where its tokens come from, and all scopes that are needed here. */
function challenge(answer: ErrorAnswer, { policy, resource }: Asking): ErrorAnswer {
  if (resource === null || (answer.status !== 401 && answer.status !== 403)) return answer
  const { 'WWW-Authenticate': plain = BEARER_CHALLENGE } = answer.headers
  const own = plain.replace(/, scope="[^"]*"/, '')
  const full = `${own}, ${challengeOfResource(resource.identifier, policy.scopes)}`
  return { ...answer, headers: { ...answer.headers, 'WWW-Authenticate': full } }
}

/** The policy is faulty, which is a mistake of the proxy's operator: every caller gets the 400, and the log an error. */
async function refusePolicy(context: Context, limits: Limits, state: RequestState, fault: string) {
  await limits.consume('other', state)
  context.log.error({ request_id: state.id, fault }, 'A proxy asks /forward-auth by an invalid policy')
  return respond(problemAnswer('invalid_request', { detail: fault }, state))
}

/** Proxies pass on no other refusal than 401 and 403, so two credentials are answered like a wrong one. */
async function refuseUnknown(limits: Limits, state: RequestState): Promise<never> {
  const { credential } = state
  const refusal = credential.kind === 'refused' ? credential.reason : new Problem('missing_credential')
  if (!(refusal instanceof Problem) || refusal.problem === 'stale') throw refusal
  await limits.consume('unknown_credential', state)
  if (refusal.problem !== 'ambiguous_credentials') throw refusal
  fail('invalid_token', { detail: 'Send one credential: either Authorization or X-API-Key, once.' })
}

/**
 * A portal session is no credential for the services behind a proxy, and neither is a token for something else: to them it is
 * as unknown as any other text.
 */
async function refuseElsewhere(limits: Limits, state: RequestState): Promise<never> {
  await limits.consume('unknown_credential', state)
  fail('invalid_token')
}

const respond = ({ status, headers, body }: ErrorAnswer) => new Response(body, { status, headers })

const DESCRIPTION = describe(
  'forwardAuth',
  'For a proxy to ask who is calling, and whether the caller may go on',
  {
    description:
      'For nginx `auth_request`, Caddy `forward_auth`, Traefik ForwardAuth and, as `/forward-auth/<policy>/*`, Envoy ' +
      '`ext_authz`; any method. The query is the policy, in plain characters: `scope=read,write` (all are needed), ' +
      '`kind=user|key|client|any`, `role=admin`, `mfa=true`, `resource=<slug>` (takes tokens that were made for that resource, ' +
      'and keys). The answer has no body; its `X-Auth-*` headers say who is calling.',
    security: [{ bearer: [] }],
    errors: [
      'invalid_request',
      'ip_not_allowed',
      'insufficient_scope',
      'forbidden',
      'mfa_enrolment_required',
      'credits_exhausted',
    ],
  },
)

/** Puts `/forward-auth` into the OpenAPI document. It serves nothing: Bun's routes above do. */
export const forwardAuthDescription = () =>
  new Elysia({ tags: ['Service'] }).get(PATH, () => undefined, { detail: DESCRIPTION })
