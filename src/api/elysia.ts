/**
 * Every place where Latchkey leans on how Elysia works inside, which Elysia does not promise. Each function names the
 * failure that it prevents, and its canary: the test in `tests/api/canary.test.ts` that fails on the day when an upgrade
 * of Elysia changes it. Elsewhere in `api/` Elysia is used as its documentation says.
 */
import type { AnyElysia } from 'elysia'
import { Memoirist } from 'memoirist'

/** How a request becomes a response. */
export type Answer = (request: Request) => Response | Promise<Response>

/**
 * The settings of an app that listens.
 *
 * - `normalize: false`: otherwise Elysia changes a body until it fits its schema, before it checks the body. A misspelt
 *   member would vanish without an error, and `[]` would count as `{}`.
 *   Canary: "normalises a body before it checks it, and with normalize: false leaves it alone".
 * - `standardHostname: false`: otherwise Elysia assumes a host of four characters or more, and with a shorter one reads
 *   the path from the wrong place, past the rate limit of the real path (docs/decisions/0024).
 *   Canary: "finds the path behind a host of one character".
 * - `serve.routes`: Bun's router serves these, and Elysia adds its own routes to them.
 *   Canary: "routes by the target as it came, which Elysia does not see, and Elysia hands it our routes".
 *
 * @param app gives the finished app; called when a request comes
 * @param routes of Bun's own router, by path
 */
export const serverSettings = (app: () => AnyElysia, routes: Record<string, Answer> = {}) => ({
  normalize: false,
  handler: { standardHostname: false },
  serve: { routes: { ...routes, '/*': (request: Request) => answerUnrouted(app(), request) } },
})

/**
 * Answers what no route of Bun's router takes: a slash at the end, a wrong path, a wrong method. There Elysia reads the
 * path from the URL. Without a valid Host header (HTTP/1.0) the URL is the bare target, in which Elysia would take the end
 * of a longer path for the path, past the limit of that path. Such a request gets the empty 400 that Bun gives to
 * requests that it cannot read (docs/decisions/0024).
 * Canary: "hands on the bare target where the Host header is missing".
 */
function answerUnrouted(app: AnyElysia, request: Request): Response | Promise<Response> {
  return request.url.startsWith('http') ? app.fetch(request) : new Response(null, { status: 400 })
}

/**
 * Keeps Elysia from parsing cookies on every route. Elysia reads the source text of every hook to find out what the hook
 * uses; the rate limiter's hooks name `cookie`, and Latchkey has none. Call it when all routes are there.
 * Canary: "keeps what it infers of the hooks where we set it".
 */
export function skipCookies(app: unknown): void {
  const { inference } = app as { inference: Record<string, boolean> }
  inference.cookie = false
}

/**
 * Declares that a hook never waits. Otherwise Elysia reads the hook's source text, and a single `return f()` makes every
 * request of the route wait for promises, which costs a fifth of its throughput (docs/decisions/0008). Elysia ignores a
 * promise that such a hook returns.
 *
 * A handler cannot be declared. On the hot path its text must hold neither `async` nor `return f()` nor `=> f()`.
 * Canary: "makes a route wait only where a hook or the handler is async or its text looks so, unless the hook says
 * isAsync: false".
 */
export function withoutWaiting<Hook extends (context: never) => void>(hook: Hook): Hook {
  return { fn: hook, isAsync: false } as unknown as Hook
}

/**
 * Makes a function for `wrap`, which runs around everything else that Elysia does: routing, hooks, errors. Its types say
 * nothing of the function that Elysia hands over.
 * Canary: "calls a wrapper around everything, and onRequest within it before it gives back anything".
 * @param around is given the request, and Elysia's way of answering it
 */
export const wrapWith =
  (around: (request: Request, answer: Answer) => Response | Promise<Response>) => (answer: unknown) =>
    ((request: Request) => around(request, answer as Answer)) as never

/**
 * Gives each request's context a `state` of its own. Elysia reads the decorators for each context at the moment when a
 * request is handed to it; so a getter can give each request its own object, which costs less than a hook. A plain
 * decorator would be one object that all requests share.
 * Canary: "reads a decorator's getter once for each request, as soon as the request is handed in".
 * @param app with all of its routes
 * @param current gives the state of the request that is handed in now
 */
export function provideState<App extends AnyElysia>(app: App, current: () => unknown): App {
  app.decorate((others) => Object.defineProperty(others, 'state', { get: () => current(), enumerable: true }))
  return app
}

type Route = AnyElysia['routes'][number]

/**
 * Finds a route by method and path as Elysia does, by the same router. A router of our own that differed in one case would
 * call a guarded route open.
 * Canary: "takes a slash at the end, and prefers the fixed path".
 */
export function createRouter<T>(routes: readonly Route[], describe: (route: Route) => T) {
  const router = new Memoirist<{ of: T }>()
  for (const route of routes) router.add(route.method, withoutSlash(route.path), { of: describe(route) })
  return {
    /** @returns null where there is no such route */
    find(method: string, path: string): T | null {
      return router.find(method, withoutSlash(path))?.store.of ?? null
    },
  }
}

/**
 * The path of a request, as Elysia's router reads it. `new URL` throws at hosts that Bun lets pass, and a limit that sees
 * another path than the router does can be got around. Without a valid Host header, Bun hands on the bare target.
 */
export function pathOf(request: Request): string {
  const { url } = request
  const start = url.startsWith('/') ? 0 : url.indexOf('/', 'http://'.length)
  if (start === -1) return '/'
  const end = url.indexOf('?', start)
  return end === -1 ? url.slice(start) : url.slice(start, end)
}

/** Elysia takes a path with and without a slash at its end. */
export function withoutSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
}

/** The `security` of a route in the OpenAPI document: one object for each alternative. */
export function securityOf({ hooks }: Route): object[] {
  return hooks.detail?.security ?? []
}

/**
 * The shapes of a route's answers, by status. @elysiajs/swagger drops their names and `additionalProperties`.
 * Canary: "leaves out what the document gets back, and keeps the shapes of the routes".
 */
export function answersOf({ hooks }: Route): object {
  return hooks.response ?? {}
}

/**
 * What Elysia calls an error that it threw itself; null for any other. What a parser threw comes as the `cause` of an
 * error with the code PARSE.
 * Canary: "wraps what a parser throws into an error with the code PARSE, whose cause it is".
 */
export function elysiaCodeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : null
}

/**
 * Whether a VALIDATION error is about our answer and not about the request. Answered as a 422 it would blame the caller.
 * Canary: "with normalize: false closes answers: a member too many is an error of type response".
 */
export function isAboutResponse(error: unknown): boolean {
  return typeOf(error) === 'response'
}

/** Whether a VALIDATION error is about the query. */
export function isAboutQuery(error: unknown): boolean {
  return typeOf(error) === 'query'
}

function typeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'type' in error ? error.type : null
}

/** A part of a schema that a value does not fit. */
export type Schema = {
  type?: string
  const?: unknown
  anyOf?: Schema[]
  format?: string
  pattern?: string
  minLength?: number
  maxLength?: number
  minimum?: number
  maximum?: number
  maxItems?: number
  error?: unknown
}

/** One fault as TypeBox reports it; for a union, `errors` has the faults of each of its choices. */
export type Fault = { path: string; message: string; schema: Schema; errors: Iterable<Fault>[] }

/**
 * What is wrong with a request, from a VALIDATION error. Elysia's own text quotes the submitted value, which may be a
 * password.
 * Canaries: "lists the faults of a body by JSON pointer, an unknown member as unexpected", "keeps the faults of each
 * shape of a union, in the order of the shapes".
 */
export function faultsOf(error: object): Fault[] {
  return 'all' in error && Array.isArray(error.all) ? (error.all as Fault[]) : []
}
