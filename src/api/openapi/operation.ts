import { catalogue, type ErrorCode } from '../../lib/errors.ts'
import { isOAuthPath } from '../oauth-path.ts'
import { oauthAnswer } from '../problem.ts'
import type { Json } from './schemas.ts'

/**
 * One method of one path. `x-errors` names the errors that do not follow from its shape, and `x-security` the credentials of
 * a route that authenticates its caller by itself. No document keeps either.
 */
export type Operation = Json & {
  responses?: Record<string, Json>
  parameters?: Json[]
  requestBody?: { required?: boolean; content: Json }
  security?: Json[]
  description?: string
  'x-errors'?: ErrorCode[]
  'x-security'?: Json[]
}

const headerOf = (name: string) => ({ $ref: `#/components/headers/${name}` })
/** Of a rate that refused, and on good answers where the key that asked has a rate. */
const RATE_HEADERS = {
  'RateLimit-Limit': headerOf('RateLimitLimit'),
  'RateLimit-Remaining': headerOf('RateLimitRemaining'),
  'RateLimit-Reset': headerOf('RateLimitReset'),
}

const FORM = 'application/x-www-form-urlencoded'
/** The probes have no rate limit. The first two also work without the database, and so never answer 503. */
const UNLIMITED = new Set(['/health', '/livez', '/readyz'])
const STATIC = new Set(['/health', '/livez'])

/**
 * Adds to one operation what the plugin leaves out: types, parameters in the path, errors, security.
 * @param shapes of its answers, by status
 * @param keySchemes the security schemes of API_KEY_HEADERS and API_KEY_SCHEMES
 */
export function complete(
  method: string,
  path: string,
  operation: Operation,
  shapes: Record<string, Json>,
  keySchemes: readonly string[],
): void {
  const isOAuth = isOAuthPath(path)
  if (operation['x-security']) operation.security = operation['x-security']
  const scopes = (operation.security ?? []).flatMap((entry) => (entry.bearer as string[] | undefined) ?? [])
  completeParameters(path, operation)
  if (operation.requestBody)
    completeBody(operation.requestBody, isOAuth && path !== '/oauth/register' ? FORM : 'application/json')
  const answers = Object.entries(operation.responses ?? {}).map(([status, response]) => {
    const { description = 'Success', content } = response
    const schema = shapes[status]
    const type = 'application/json'
    const headers = operation.security && status.startsWith('2') ? { headers: RATE_HEADERS } : {}
    const shape = content && schema ? { content: { [type]: { schema } } } : {}
    return [status, { description, ...headers, ...shape }]
  })
  operation.responses = {
    ...Object.fromEntries(answers),
    ...errorResponses(method, path, operation, scopes),
  }
  operation.security = operation.security
    ? [
        ...(isOptional(operation) ? [{}] : []),
        { bearer: [] },
        { oauth2: [] },
        ...keySchemes.map((name) => ({ [name]: [] })),
      ]
    : []
  if (scopes.length > 0)
    operation.description = [operation.description, `Needs the scope \`${scopes.join(' ')}\`.`]
      .filter(Boolean)
      .join(' ')
  delete operation['x-errors']
  delete operation['x-security']
}

/** Whether the credential is optional: one of the alternatives asks for nothing. */
function isOptional({ security = [] }: Operation): boolean {
  return security.some((entry) => Object.keys(entry).length === 0)
}

function completeParameters(path: string, operation: Operation): void {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: name === 'id' ? { type: 'string', format: 'uuid' } : { type: 'string' },
  }))
  const others = (operation.parameters ?? []).filter((parameter) => parameter.in !== 'path')
  const parameters = [
    ...inPath,
    ...others.map((parameter) => ({ ...parameter, schema: readNumber(parameter.schema as Json) })),
  ]
  if (parameters.length > 0) operation.parameters = parameters
  else delete operation.parameters
}

/** Elysia describes a number in a query as a text or a number. To the caller it is a number. */
function readNumber(schema: Json): Json {
  const choices = Array.isArray(schema.anyOf) ? (schema.anyOf as Json[]) : []
  return choices.find(({ type }) => type === 'integer' || type === 'number') ?? schema
}

/** A body whose schema allows null may be left out. */
function completeBody(body: NonNullable<Operation['requestBody']>, type: string): void {
  body.content = onlyType(body.content, type)
  const media = body.content[type] as { schema?: { anyOf?: Json[] } } | undefined
  const choices = media?.schema?.anyOf
  const some = choices?.filter((choice) => choice.type !== 'null')
  if (!choices || !some || some.length === choices.length) return
  body.required = false
  body.content = { [type]: { schema: some.length === 1 ? some[0] : { anyOf: some } } }
}

/** The errors of an operation: those that follow from its shape, and those that it names in `x-errors`. */
function errorResponses(method: string, path: string, operation: Operation, scopes: string[]) {
  const isOAuth = isOAuthPath(path)
  const codes = new Set<ErrorCode>(operation['x-errors'])
  const add = (...more: ErrorCode[]) => {
    for (const code of more) codes.add(code)
  }
  if (operation.security) add('ambiguous_credentials')
  // The OAuth routes that take a credential name their own errors.
  if (operation.security && !isOptional(operation) && !isOAuth)
    add('missing_credential', 'invalid_token', 'wrong_credential_kind')
  if (scopes.length > 0) add('insufficient_scope')
  // A body is read and checked for every such method, also where the route needs none.
  if (method !== 'get' && (method !== 'delete' || operation.requestBody))
    add('malformed_json', 'body_too_large', 'unsupported_media_type')
  const hasQuery = operation.parameters?.some((parameter) => parameter.in === 'query')
  if (operation.requestBody || hasQuery) add('validation_failed')
  if (path.includes('{')) add('not_found')
  if (!UNLIMITED.has(path)) add('rate_limited')
  if (!STATIC.has(path)) add('unavailable')
  const byStatus = Map.groupBy([...codes], (code) => String(statusOf(code, isOAuth)))
  return Object.fromEntries([...byStatus].map(([status, named]) => [status, errorResponse(named, isOAuth)]))
}

function statusOf(code: ErrorCode, isOAuth: boolean): number {
  return isOAuth ? oauthAnswer(code, {}).status : catalogue[code][0]
}

function errorResponse(codes: ErrorCode[], isOAuth: boolean): Json {
  const names = isOAuth ? codes.map((code) => JSON.parse(oauthAnswer(code, {}).body).error) : codes
  const schema = { $ref: `#/components/schemas/${isOAuth ? 'OAuthError' : 'Problem'}` }
  const headers = headersOf(codes)
  return {
    description: [...new Set(names)].map((name) => `\`${name}\``).join(', '),
    ...(headers ? { headers } : {}),
    content: { [isOAuth ? 'application/json' : 'application/problem+json']: { schema } },
  }
}

function headersOf(codes: ErrorCode[]): Json | null {
  if (codes.includes('unavailable')) return { 'Retry-After': headerOf('RetryAfter') }
  if (codes.includes('rate_limited')) return { 'Retry-After': headerOf('RetryAfter'), ...RATE_HEADERS }
  const challenges: ErrorCode[] = ['missing_credential', 'invalid_client', 'insufficient_scope']
  if (challenges.some((code) => codes.includes(code)))
    return { 'WWW-Authenticate': headerOf('WwwAuthenticate') }
  return null
}

function onlyType(content: Json, type: string): Json {
  return { [type]: content['application/json'] ?? content[type] }
}
