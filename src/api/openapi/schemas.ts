import type { Config } from '../../config/config.ts'
import { isAuthorizationServer } from '../../core/oauth/authorization-server.ts'
import { catalogue } from '../../lib/errors.ts'

/** A part of an OpenAPI document. */
export type Json = Record<string, unknown>

/**
 * How clients authenticate: by an access token or an API key, or by e-mail and password. By the code flow too, where
 * Latchkey makes tokens for apps.
 */
export const securitySchemes = (config: Pick<Config, 'publicUrl' | 'algorithm'>) => ({
  bearer: {
    type: 'http',
    scheme: 'bearer',
    description:
      'An access token, or an API key (`sk_…`). A key also goes in X-API-Key, or as the user name of Basic with an empty password.',
  },
  oauth2: {
    type: 'oauth2',
    description: isAuthorizationServer(config)
      ? 'At the pages for sign-in, or by e-mail and password'
      : 'E-mail and password',
    flows: {
      ...(isAuthorizationServer(config) && {
        authorizationCode: { authorizationUrl: `${config.publicUrl}/oauth/authorize`, ...tokenUrls(config) },
      }),
      password: tokenUrls(config),
    },
  },
})

const tokenUrls = ({ publicUrl }: Pick<Config, 'publicUrl'>) => ({
  tokenUrl: `${publicUrl}/oauth/token`,
  refreshUrl: `${publicUrl}/oauth/token`,
  scopes: {},
})

/** The further headers and schemes of Authorization that carry a key: API_KEY_HEADERS, API_KEY_SCHEMES. */
export const keySchemes = ({
  apiKeyHeaders,
  apiKeySchemes,
}: Pick<Config, 'apiKeyHeaders' | 'apiKeySchemes'>): Json => ({
  ...Object.fromEntries(
    apiKeyHeaders.map((name) => [
      `header-${name}`,
      { type: 'apiKey', in: 'header', name, description: 'An API key' },
    ]),
  ),
  ...Object.fromEntries(
    apiKeySchemes.map((scheme) => [`scheme-${scheme}`, { type: 'http', scheme, description: 'An API key' }]),
  ),
})

/** RFC 9457. */
export const PROBLEM = {
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
    limited_by: {
      type: 'string',
      enum: ['key', 'owner'],
      description: 'With 429, whose limit is used up; missing: that of the client address',
    },
    errors: {
      type: 'array',
      description: 'The members at fault, as JSON pointers; `?name` is a parameter of the query',
      items: {
        type: 'object',
        required: ['path', 'message'],
        properties: { path: { type: 'string' }, message: { type: 'string' } },
      },
    },
  },
}

/** RFC 6749, section 5.2. */
export const OAUTH_ERROR = {
  type: 'object',
  description: 'RFC 6749, section 5.2',
  required: ['error'],
  properties: { error: { type: 'string' }, error_description: { type: 'string' } },
}

/** The headers of errors, and of good answers to a key that has a rate. */
export const HEADERS = {
  RetryAfter: { description: 'Seconds to wait', schema: { type: 'integer', minimum: 0 } },
  RateLimitLimit: {
    description: 'What the limit that refused allows, or the tighter one of the key that asked',
    schema: { type: 'integer', minimum: 0 },
  },
  RateLimitRemaining: { description: 'What is left of it', schema: { type: 'integer', minimum: 0 } },
  RateLimitReset: {
    description: 'Seconds until there is some again',
    schema: { type: 'integer', minimum: 0 },
  },
  WwwAuthenticate: { description: 'RFC 9110, section 11.6.1', schema: { type: 'string' } },
}

/** `error` is a keyword of Elysia's validator, which OpenAPI does not have. */
const isForeign = (key: string, value: unknown) => key === 'error' && typeof value === 'string'

/** Moves every schema that has a name (`$id`) into `components`, and puts a reference in its place. */
export function hoistNamed<T>(node: T, components: Json): T {
  if (Array.isArray(node)) return node.map((item) => hoistNamed(item, components)) as T
  if (typeof node !== 'object' || node === null) return node
  const { $id, ...rest } = node as Json
  const plain = Object.fromEntries(
    Object.entries(rest)
      .filter(([key, value]) => !isForeign(key, value))
      .map(([key, value]) => [key, hoistNamed(value, components)]),
  )
  if (typeof $id !== 'string') return plain as T
  components[$id] = plain
  return { $ref: `#/components/schemas/${$id}` } as T
}

/** The same members in the order of their names. */
export function sortByName(components: Json): Json {
  return Object.fromEntries(Object.entries(components).sort(([a], [b]) => a.localeCompare(b)))
}
