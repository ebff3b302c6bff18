import { swagger } from '@elysiajs/swagger'
import { type AnyElysia, Elysia } from 'elysia'
import { catalogue, type ErrorCode } from '../lib/errors.ts'

type Json = Record<string, unknown>
type Operation = Json & {
  responses?: Record<string, Json>
  parameters?: Json[]
  requestBody?: { content: Json }
  security?: Json[]
  description?: string
}
type Document = Json & {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Json; securitySchemes: Json }
}

const SPEC_PATH = '/document.json'
const FORM = 'application/x-www-form-urlencoded'

const INFO = {
  info: {
    title: 'Latchkey',
    version: '1',
    description: 'Users, service accounts and API keys for your API.',
    license: { name: 'MIT', identifier: 'MIT' },
  },
  tags: [
    { name: 'Users and sessions', description: 'Sign-up, login, refresh, logout' },
    { name: 'API keys', description: 'Keys with scopes for services' },
    { name: 'Service accounts', description: "Owners of a service's keys, which outlive their maker" },
    { name: 'Administration', description: 'Users and the audit trail' },
    { name: 'OAuth', description: 'Standard doors for standard clients' },
    { name: 'Examples', description: 'Protected routes to copy' },
    { name: 'Service', description: 'What a balancer asks' },
  ],
}

/**
 * The OpenAPI 3.1 document of an app: what @elysiajs/swagger makes of its routes and schemas, with what it leaves out.
 * The plugin runs beside the app, so that none of its own pages is ever served.
 */
export async function openApiDocument(app: AnyElysia, publicUrl: string): Promise<object> {
  const describer = new Elysia()
    .use(app)
    .use(swagger({ path: '/describer', specPath: SPEC_PATH, excludeStaticFile: false, documentation: INFO }))
  const answer = await describer.handle(new Request(`http://localhost${SPEC_PATH}`))
  const document = (await answer.json()) as Document
  const components: Json = { Problem: PROBLEM, OAuthError: OAUTH_ERROR }
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const operation of Object.values(operations)) complete(path, operation)
  }
  return {
    ...document,
    openapi: '3.1.0',
    servers: [{ url: publicUrl }],
    paths: hoistNamed(document.paths, components),
    components: { schemas: sortByName(components), securitySchemes: SECURITY_SCHEMES },
  }
}

const SECURITY_SCHEMES = {
  bearer: { type: 'http', scheme: 'bearer', description: 'An access token, or an API key (`sk_…`)' },
  oauth2: {
    type: 'oauth2',
    description: 'E-mail and password',
    flows: { password: { tokenUrl: '/oauth/token', refreshUrl: '/oauth/token', scopes: {} } },
  },
}

const PROBLEM = {
  type: 'object',
  description: 'RFC 9457',
  required: ['type', 'title', 'status', 'detail', 'code', 'request_id'],
  properties: {
    type: { type: 'string', examples: ['/errors/invalid_token'] },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { type: 'string', enum: Object.keys(catalogue) },
    request_id: { type: 'string' },
    errors: {
      type: 'array',
      items: {
        type: 'object',
        required: ['path', 'message'],
        properties: { path: { type: 'string' }, message: { type: 'string' } },
      },
    },
  },
}

const OAUTH_ERROR = {
  type: 'object',
  description: 'RFC 6749, section 5.2',
  required: ['error'],
  properties: { error: { type: 'string' }, error_description: { type: 'string' } },
}

/** Adds to one operation what the plugin leaves out: types, parameters in the path, errors, security. */
function complete(path: string, operation: Operation): void {
  const isOAuth = path.startsWith('/oauth/')
  const scopes = (operation.security ?? []).flatMap((entry) => (entry.bearer as string[] | undefined) ?? [])
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
  const inPath = names.map((name) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string', format: 'uuid' },
  }))
  const parameters = [
    ...inPath,
    ...(operation.parameters ?? []).filter((parameter) => parameter.in !== 'path'),
  ]
  if (parameters.length > 0) operation.parameters = parameters
  else delete operation.parameters

  if (operation.requestBody)
    operation.requestBody.content = onlyType(
      operation.requestBody.content,
      isOAuth ? FORM : 'application/json',
    )
  for (const [status, response] of Object.entries(operation.responses ?? {})) {
    const { $id, description, content } = response
    operation.responses ??= {}
    operation.responses[status] = {
      description: description ?? 'Success',
      ...(content ? { content: withName(onlyType(content as Json, 'application/json'), $id) } : {}),
    }
  }
  operation.responses = { ...operation.responses, ...errorResponses(operation, isOAuth, scopes) }
  if (operation.security) operation.security = [{ bearer: [] }, { oauth2: [] }]
  else operation.security = []
  if (scopes.length > 0)
    operation.description = [operation.description, `Needs the scope \`${scopes.join(' ')}\`.`]
      .filter(Boolean)
      .join(' ')
  delete operation['x-errors']
}

/** The errors that an operation's shape allows, and those that it names in `x-errors`. */
function errorResponses(operation: Operation, isOAuth: boolean, scopes: string[]): Record<string, Json> {
  const codes = new Set<ErrorCode>((operation['x-errors'] as ErrorCode[] | undefined) ?? [])
  const add = (...more: ErrorCode[]) => {
    for (const code of more) codes.add(code)
  }
  if (operation.security)
    add('ambiguous_credentials', 'missing_credential', 'invalid_token', 'wrong_credential_kind')
  if (scopes.length > 0) add('insufficient_scope')
  if (operation.requestBody) add('malformed_json', 'body_too_large', 'unsupported_media_type')
  if (operation.requestBody || operation.parameters) add('validation_failed')
  add('rate_limited', 'unavailable')
  const byStatus = Map.groupBy([...codes], (code) => String(catalogue[code][0]))
  const schema = { $ref: `#/components/schemas/${isOAuth ? 'OAuthError' : 'Problem'}` }
  const type = isOAuth ? 'application/json' : 'application/problem+json'
  return Object.fromEntries(
    [...byStatus].map(([status, named]) => [
      status,
      { description: named.map((code) => `\`${code}\``).join(', '), content: { [type]: { schema } } },
    ]),
  )
}

function onlyType(content: Json, type: string): Json {
  return { [type]: content['application/json'] }
}

/** The plugin moves a schema's `$id` out to the response: put it back. */
function withName(content: Json, name: unknown): Json {
  if (name === undefined) return content
  return Object.fromEntries(
    Object.entries(content).map(([type, media]) => [
      type,
      { schema: { ...(media as { schema: Json }).schema, $id: name } },
    ]),
  )
}

/** Moves every schema that has a name (`$id`) into the components, and refers to it there. */
function hoistNamed<T>(node: T, components: Json): T {
  if (Array.isArray(node)) return node.map((item) => hoistNamed(item, components)) as T
  if (typeof node !== 'object' || node === null) return node
  const { $id, ...rest } = node as Json
  const plain = Object.fromEntries(
    Object.entries(rest).map(([key, value]) => [key, hoistNamed(value, components)]),
  )
  if (typeof $id !== 'string') return plain as T
  components[$id] = plain
  return { $ref: `#/components/schemas/${$id}` } as T
}

function sortByName(components: Json): Json {
  return Object.fromEntries(Object.entries(components).sort(([a], [b]) => a.localeCompare(b)))
}
