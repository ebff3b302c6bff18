import { swagger } from '@elysiajs/swagger'
import { type AnyElysia, Elysia } from 'elysia'
import type { Config } from '../config/config.ts'
import { answersOf } from './elysia.ts'
import { EXAMPLES } from './openapi/examples.ts'
import { complete, type Operation } from './openapi/operation.ts'
import {
  HEADERS,
  hoistNamed,
  type Json,
  keySchemes,
  OAUTH_ERROR,
  PROBLEM,
  securitySchemes,
  sortByName,
} from './openapi/schemas.ts'

type Operations = Record<string, Operation>
type Document = Json & { paths: Record<string, Operations> }

const SPEC_PATH = '/document.json'

const INFO = {
  info: {
    title: 'Latchkey',
    version: '1',
    description: 'Users, service accounts and API keys for your API.',
    license: { name: 'MIT', identifier: 'MIT' },
  },
  tags: [
    { name: 'Users and sessions', description: 'Sign-up, login, refresh, logout' },
    { name: 'Browser sessions', description: 'Sign-in by a cookie, for pages of our own origin' },
    { name: 'API keys', description: 'Keys with scopes for services' },
    { name: 'Service accounts', description: "Owners of a service's keys, which outlive their maker" },
    { name: 'Administration', description: 'Users and the audit trail' },
    {
      name: 'Apps',
      description: 'Apps that act for people, the APIs for which they get tokens, and what people allowed',
    },
    { name: 'OAuth', description: 'Standard endpoints for standard clients' },
    { name: 'Examples', description: 'Protected routes to copy' },
    { name: 'Regions', description: 'What the verifiers of regions ask of home' },
    { name: 'Service', description: 'What load balancers and proxies ask' },
  ],
}

/**
 * The OpenAPI 3.1 document of an app: @elysiajs/swagger makes it from the routes and schemas, and this function adds what
 * the plugin leaves out. The plugin runs in an app of its own, because its own page loads a script from a CDN and must
 * never be served.
 */
export async function openApiDocument(app: AnyElysia, config: Config): Promise<object> {
  const describer = new Elysia()
    .use(app)
    .use(swagger({ path: '/describer', specPath: SPEC_PATH, excludeStaticFile: false, documentation: INFO }))
  const answer = await describer.handle(new Request(`http://localhost${SPEC_PATH}`))
  const document = (await answer.json()) as Document
  const keys = keySchemes(config)
  const shapes = shapesOf(app)
  const paths: Record<string, Operations> = {}
  for (const [path, operations] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(operations))
      complete(method, path, operation, shapes.get(`${method} ${path}`) ?? {}, Object.keys(keys))
    // The plugin writes the path of a group with a slash at its end; the router takes both.
    const name = path.length > 1 ? path.replace(/\/$/, '') : path
    paths[name] = { ...paths[name], ...operations }
  }
  const schemas: Json = { Problem: PROBLEM, OAuthError: OAUTH_ERROR }
  const named = hoistNamed(paths, schemas)
  for (const [name, example] of Object.entries(EXAMPLES)) {
    const schema = schemas[name]
    // Without tokens for apps the document has no shapes of theirs.
    if (schema) Object.assign(schema, { examples: [example] })
  }
  return {
    ...document,
    openapi: '3.1.0',
    servers: [{ url: config.publicUrl }],
    paths: named,
    components: {
      schemas: sortByName(schemas),
      headers: HEADERS,
      securitySchemes: { ...securitySchemes(config), ...keys },
    },
  }
}

/**
 * Leaves `additionalProperties: false` out of answers. It makes Elysia refuse to send a member too many; a client has to
 * accept new members.
 */
const withoutClosing = (key: string, value: unknown) =>
  key === 'additionalProperties' && value === false ? undefined : value

/** The shapes of every route's answers by status, by the method and path of the document. */
function shapesOf(app: AnyElysia): Map<string, Record<string, Json>> {
  return new Map(
    app.routes.map((route) => {
      const name = `${route.method.toLowerCase()} ${route.path.replace(/:(\w+)/g, '{$1}')}`
      return [name, JSON.parse(JSON.stringify(answersOf(route), withoutClosing))]
    }),
  )
}
