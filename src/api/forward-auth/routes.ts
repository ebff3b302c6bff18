import type { BunRequest } from 'bun'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import type { Principal } from '../../core/principal.ts'
import type { Denial } from '../../core/verify/refusals.ts'
import { fail, Problem } from '../../lib/errors.ts'
import { recogniseCredential } from '../credential.ts'
import { answerError } from '../errors.ts'
import type { Observed } from '../observe.ts'
import { type ErrorAnswer, problemAnswer } from '../problem.ts'
import type { Limits } from '../rate-limit.ts'
import type { RequestState } from '../request-state.ts'
import { judge } from './decide.ts'
import { identityOf } from './identity.ts'
import { ANYBODY, type Policy, parsePolicy } from './policy.ts'

const PATH = '/forward-auth'

/** A request that Bun's own router has chosen, by its target as it came. */
type Asked = BunRequest<'/forward-auth/:policy'>

/** The policy of a target, or what is wrong with it. */
type PolicyOf = (request: Asked) => Policy | { fault: string }

/**
 * Routes of Bun's own router, which reads the target as it came over the wire. Elysia sees only what a URL parser made of
 * it, and there a client's path, which Envoy puts behind the policy, may have climbed to another policy or route.
 * Whatever the method, OPTIONS too, it is the same question; the body is never read.
 */
export function forwardAuth(context: Context, limits: Limits, observed: Observed) {
  const door = (policyOf: PolicyOf) =>
    observed((request, state) => {
      state.route = PATH
      const refuse = (error: unknown) => respond(answerError(context, error, state))
      try {
        const answer = ask(context, limits, state, policyOf(request as Asked))
        return answer instanceof Promise ? answer.catch(refuse) : answer
      } catch (error) {
        return refuse(error)
      }
    })
  const byPath = door(policyOfPath)
  return {
    [PATH]: door(policyOfQuery),
    [`${PATH}/*`]: byPath,
    [`${PATH}/:policy`]: byPath,
    [`${PATH}/:policy/*`]: byPath,
  }
}

/** All after the first `?` is the policy; without one, a good credential is all that is asked for. */
function policyOfQuery({ url }: Request): Policy | { fault: string } {
  const start = url.indexOf('?')
  return start === -1 ? ANYBODY : parsePolicy(url.slice(start + 1))
}

/**
 * The first segment after the door's own is the policy, and what follows belongs to the client. The router decodes the
 * segment: where the parsed URL does not begin with the same, it was encoded, or something climbed past it. With a Host
 * header that is none there is no URL to compare with.
 */
function policyOfPath({ url, params }: Asked): Policy | { fault: string } {
  const text = params.policy ?? ''
  const asked = `${PATH}/${text}`
  const parsed = URL.parse(url)?.pathname
  if (parsed !== asked && !parsed?.startsWith(`${asked}/`))
    return { fault: 'The policy is encoded, the path climbs past it, or the Host header is none' }
  return text === 'any' ? ANYBODY : parsePolicy(text)
}

function ask(
  context: Context,
  limits: Limits,
  state: RequestState,
  policy: Policy | { fault: string },
): Response | Promise<Response> {
  if ('fault' in policy) return refusePolicy(context, limits, state, policy.fault)
  const decide = (): Response | Promise<Response> => {
    const principal = state.shown
    if (principal === null) return refuseUnknown(limits, state)
    state.principal = principal
    const denial = judge(context, principal, policy, state.address)
    return denial instanceof Promise
      ? denial.then((denied) => conclude(state, principal, denied))
      : conclude(state, principal, denial)
  }
  const recognising = recogniseCredential(context, () => true, state)
  return recognising ? recognising.then(decide) : decide()
}

function conclude(state: RequestState, principal: Principal, denial: Denial | null): Response {
  return denial === null
    ? new Response(null, { headers: identityOf(principal) })
    : respond(problemAnswer(denial.code, denial.extra, state))
}

/** The proxy asks for what there is not, whoever calls: its operator has to see that. */
async function refusePolicy(context: Context, limits: Limits, state: RequestState, fault: string) {
  await limits.consume('other', state)
  context.log.error({ request_id: state.id, fault }, 'A proxy asks /forward-auth by a policy that is none')
  return respond(problemAnswer('invalid_request', { detail: fault }, state))
}

/** Of the refusals, proxies pass on 401 and 403 alone: two credentials are as good as a wrong one. */
async function refuseUnknown(limits: Limits, state: RequestState): Promise<never> {
  const refusal = state.refusal ?? new Problem('missing_credential')
  if (!(refusal instanceof Problem)) throw refusal
  await limits.consume('unknown_credential', state)
  if (refusal.problem !== 'ambiguous_credentials') throw refusal
  fail('invalid_token', { detail: 'Send one credential: either Authorization or X-API-Key, once.' })
}

const respond = ({ status, headers, body }: ErrorAnswer) => new Response(body, { status, headers })

const DESCRIPTION = {
  operationId: 'forwardAuth',
  summary: 'For a proxy to ask who is calling, and whether they may go on',
  description:
    'For nginx `auth_request`, Caddy `forward_auth`, Traefik ForwardAuth and, as `/forward-auth/<policy>/*`, Envoy ' +
    '`ext_authz`; any method. The query is the policy, in plain characters: `scope=read,write` (all are needed), ' +
    '`kind=user|key|any`, `role=admin`, `mfa=true`. The answer has no body; who is calling stands in its `X-Auth-*` headers.',
  security: [{ bearer: [] }],
  'x-errors': [
    'invalid_request',
    'ip_not_allowed',
    'insufficient_scope',
    'forbidden',
    'mfa_enrolment_required',
    'credits_exhausted',
  ],
}

/** How the door stands in the OpenAPI document; it is served by the routes above alone. */
export const forwardAuthDescription = () =>
  new Elysia({ tags: ['Service'] }).get(PATH, () => undefined, { detail: DESCRIPTION })
