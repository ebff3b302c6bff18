/**
 * The life of a request.
 *
 *  1. Bun accepts the connection, and refuses a body beyond 9 MiB (`server/listen.ts`).
 *  2. Bun's router chooses by the raw target: `/forward-auth…` goes to `forward-auth/routes.ts`, the rest to Elysia.
 *  3. `observe.ts` gives the request four seconds to wait in all (docs/decisions/0015), and makes its state: id, client
 *     address, trace.
 *  4. `credential.ts` verifies the credential, from the cache or by the database (docs/decisions/0008).
 *  5. Elysia chooses the route. A path that no route has goes to step 12.
 *  6. The guard of `auth.ts` accepts the caller by kind, address, scope and key rate. `route-table.ts` says which routes ask
 *     for what.
 *  7. `body.ts` reads the body, where the route takes one: type, size, JSON. The guard then asks about the caller again.
 *  8. Elysia checks body and query against the shapes of the route.
 *  9. `rate-limit.ts` counts the request against a limit per client address, before the handler and so before any password
 *     is hashed. It counts no health check, verification or example route.
 * 10. The handler calls one function of `core/`, which knows no HTTP.
 * 11. Elysia checks the answer against its shape; `compression.ts` compresses a long answer to GET (docs/decisions/0035).
 * 12. Whatever was thrown on the way ends in `errors.ts`: it counts the request if step 9 did not (docs/decisions/0005),
 *     audits a refusal, and `problem.ts` writes the answer.
 * 13. `observe.ts` sets the headers of every answer, counts it for /metrics, and writes its line to the access log.
 */
import { cors } from '@elysiajs/cors'
import { type AnyElysia, Elysia } from 'elysia'
import type { Config } from '../config/config.ts'
import type { Context } from '../core/context.ts'
import { isAuthorizationServer } from '../core/oauth/authorization-server.ts'
import type { Region } from '../core/verifier/region.ts'
import { Problem } from '../lib/errors.ts'
import { auth } from './auth.ts'
import { browserGuard } from './browser.ts'
import { type AddressOf, createAddressOf } from './client-address.ts'
import { compressAnswer } from './compression.ts'
import { consolePages } from './console.ts'
import { recogniseCredential } from './credential.ts'
import { docs } from './docs.ts'
import { pathOf, serverSettings, skipCookies, withoutSlash, wrapWith } from './elysia.ts'
import { errors, missingAmong } from './errors.ts'
import { forwardAuth, forwardAuthDescription } from './forward-auth/routes.ts'
import { observe } from './observe.ts'
import { openApiDocument } from './openapi.ts'
import { prefersPage } from './pages/answer.tsx'
import { pageAssets } from './pages/assets.ts'
import { portalPages } from './portal.ts'
import { createLimits } from './rate-limit.ts'
import { type RequestState, stated } from './request-state.ts'
import { createRouteTable } from './route-table.ts'
import { auditRoutes } from './routes/audit.ts'
import { authRoutes } from './routes/auth.ts'
import { metadataRoute } from './routes/authorization-server.ts'
import { authorizeRoutes } from './routes/authorize.tsx'
import { browserSessionRoutes } from './routes/browser-sessions.ts'
import { clientRoutes } from './routes/clients.ts'
import { devicePages, deviceRoutes } from './routes/device.tsx'
import { errorPages } from './routes/error-pages.ts'
import { protectedRoutes } from './routes/examples.ts'
import { grantRoutes } from './routes/grants.ts'
import { type IsDraining, opsRoutes, rootRoute } from './routes/health.ts'
import { importRoutes } from './routes/import.ts'
import { signingRoutes } from './routes/jwks.ts'
import { keyRoutes } from './routes/keys.ts'
import { mailRoutes } from './routes/mails.ts'
import { metricsRoute } from './routes/metrics.ts'
import { introspectionRoutes, oauthRoutes } from './routes/oauth.ts'
import { openIdRoutes } from './routes/openid.tsx'
import { overviewRoutes } from './routes/overview.ts'
import { pageRoutes, startPage } from './routes/pages.tsx'
import { passkeyRoutes } from './routes/passkeys.ts'
import { portalRoutes } from './routes/portal.ts'
import { protectedResourceRoutes } from './routes/protected-resources.ts'
import { regionRoutes } from './routes/region.ts'
import { resourceRoutes } from './routes/resources.ts'
import { secondFactorRoutes } from './routes/second-factors.ts'
import { serviceAccountRoutes } from './routes/service-accounts.ts'
import { sessionRoutes } from './routes/sessions.ts'
import { signingKeyRoutes } from './routes/signing-keys.ts'
import { usageRoutes } from './routes/usage.ts'
import { userRoutes } from './routes/users.ts'
import { verifyRoutes } from './routes/verify.ts'

/** What only the process around the app knows: whether it is shutting down, and which address a request comes from. */
export type AppOptions = { isDraining?: IsDraining; addressOf?: AddressOf }

/** Every route of the HTTP service, in parts, with what they share. */
function createParts(context: Context, isDraining: IsDraining) {
  const limits = createLimits(context)
  const guard = auth(context)

  const unlimited = new Elysia()
    .use(opsRoutes(context, isDraining))
    .use(metricsRoute(context, context.config.metricsToken !== null))
    .use(protectedRoutes(guard))
    .use(verifyRoutes(context, guard))
    .use(regionRoutes(context, guard))

  const inBrowser = browserGuard(context)
  const forBrowsers = new Elysia()
    .use(pageRoutes(context, inBrowser, limits))
    .use(pageAssets(context.config))
    .use(browserSessionRoutes(context, inBrowser))
    .use(authorizeRoutes(context, inBrowser))
    .use(devicePages(context, inBrowser, limits))

  const forApps = new Elysia()
    .use(resourceRoutes(context, guard))
    .use(clientRoutes(context, guard))
    .use(grantRoutes(context, guard))
    .use(deviceRoutes(context, guard, limits))

  const limited = new Elysia()
    .use(stated)
    .use(limits.plugin)
    .mapResponse(compressAnswer)
    .use(rootRoute(startPage(context)))
    .use(errorPages())
    .use(authRoutes(context, guard))
    .use(sessionRoutes(context, guard))
    .use(secondFactorRoutes(context, guard))
    .use(passkeyRoutes(context, guard))
    .use(importRoutes(context, guard))
    .use(keyRoutes(context, guard))
    .use(serviceAccountRoutes(context, guard))
    .use(portalRoutes(context, guard))
    .use(userRoutes(context, guard))
    .use(auditRoutes(context, guard))
    .use(signingKeyRoutes(context, guard))
    .use(mailRoutes(context, guard))
    .use(overviewRoutes(context, guard))
    .use(usageRoutes(context, guard))
    .use(oauthRoutes(context, guard, limits))
    .use(introspectionRoutes(context, guard, limits))
    // Without tokens for apps there are no such routes. The type has them, for the client of the API.
    .use(isAuthorizationServer(context.config) ? forApps : (new Elysia() as unknown as typeof forApps))
    .use(signingRoutes(context))
    .use(metadataRoute(context))
    .use(protectedResourceRoutes(context))
    .use(openIdRoutes(context, inBrowser))
    .use(forBrowsers)

  const document = once(() =>
    openApiDocument(new Elysia().use(unlimited).use(limited).use(forwardAuthDescription()), context.config),
  )
  const documented = docs(context.config.docs, document)
    .use(consolePages(context.config))
    .use(portalPages(context.config))
  const routes = createRouteTable([unlimited, limited, documented].flatMap((part) => part.routes))
  return { limits, guard, unlimited, limited, forBrowsers, documented, document, routes }
}

/** The HTTP service. It listens nowhere yet, and asks the database nothing until a request comes. */
export function createApp(context: Context, options: AppOptions = {}) {
  const isDraining = options.isDraining ?? (() => false)
  const { limits, unlimited, limited, forBrowsers, documented, routes } = createParts(context, isDraining)
  const addressOf = options.addressOf ?? createAddressOf(context.config, context.log)
  const prepare = (state: RequestState) => recogniseCredential(context, routes.isGuarded, state)
  const observed = observe(context, addressOf, prepare, isDraining)
  const rawRoutes = forwardAuth(context, limits, observed.observed)
  const app = new Elysia(serverSettings((): AnyElysia => app, rawRoutes))
    .use(observed.plugin)
    .use(errors(context, limits, missingAmong(routes.methodsOf)))
    .use(crossOrigin(context.config, isAmong(forBrowsers.routes)))
    .use(unlimited)
    .use(limited)
    .use(documented)
  observed.provideState(app)
  skipCookies(app)
  return app
}

/**
 * The HTTP service of a verifier in a region: some of the parts of home, and for each other route of home the address there
 * (docs/regions.md). It answers questions only while its copy is proved to be recent.
 */
export function createVerifierApp(context: Context, region: Region, options: AppOptions = {}) {
  const isDraining = options.isDraining ?? (() => false)
  const { limits, guard, document, routes: known } = createParts(context, isDraining)
  const { freshness } = region
  const asked = new Elysia()
    // Also after a body that was long in coming.
    .onBeforeHandle(() => freshness.require())
    .onAfterHandle(({ responseValue }) => {
      const asOf = freshness.asOf()
      return asOf === null ? undefined : datedAnswer(responseValue, asOf)
    })
    .use(verifyRoutes(context, guard))
    .use(introspectionRoutes(context, guard, limits))
  const open = new Elysia()
    .use(opsRoutes(context, isDraining))
    .use(metricsRoute(context, context.config.metricsToken !== null))
    .use(docs(false, document))
  const limited = new Elysia()
    .use(stated)
    .use(limits.plugin)
    .use(signingRoutes(context))
    .use(metadataRoute(context))
    .use(protectedResourceRoutes(context))
  const questions = createRouteTable(asked.routes)
  const own = createRouteTable([asked, open, limited].flatMap((part) => part.routes))
  const isAmongOf =
    ({ methodsOf }: typeof own) =>
    ({ request }: RequestState) =>
      methodsOf(pathOf(request)).length > 0
  const isQuestion = isAmongOf(questions)
  const isOwn = isAmongOf(own)
  /** Neither a stale copy nor what is home's looks at the credential. */
  const prepare = (state: RequestState) => {
    if (!isOwn(state)) return
    const isStale = isQuestion(state) && !freshness.isGood()
    if (!isStale) return recogniseCredential(context, own.isGuarded, state)
    // Where the route itself looks at the credential, the hook above comes first.
    if (own.isGuarded(state.request)) state.credential = { kind: 'refused', reason: freshness.refuse() }
  }
  const missing = (path: string) =>
    known.methodsOf(path).length === 0 || own.methodsOf(path).length > 0
      ? missingAmong(own.methodsOf)(path)
      : new Problem('misdirected', { members: { home: `${context.config.homeUrl}${path}` } })
  const addressOf = options.addressOf ?? createAddressOf(context.config, context.log)
  const observed = observe(context, addressOf, prepare, isDraining)
  const app = new Elysia(
    serverSettings((): AnyElysia => app, forwardAuth(context, limits, observed.observed)),
  )
    .use(observed.plugin)
    .use(errors(context, limits, missing))
    .use(crossOrigin(context.config, () => false))
    .use(asked)
    .use(open)
    .use(limited)
  observed.provideState(app)
  skipCookies(app)
  return app
}

/** An answer, or each result of a batch, with the time of the last proof. */
function datedAnswer(answer: unknown, asOf: string): unknown {
  if (typeof answer !== 'object' || answer === null) return answer
  if (!('results' in answer) || !Array.isArray(answer.results)) return { ...answer, as_of: asOf }
  return { results: answer.results.map((result: object) => ({ ...result, as_of: asOf })) }
}

/** The app on METRICS_PORT: /metrics alone. */
export function createMetricsApp(context: Context) {
  const metrics = metricsRoute(context, true)
  const { methodsOf } = createRouteTable(metrics.routes)
  const addressOf = createAddressOf(context.config, context.log)
  const observed = observe(context, addressOf, () => undefined)
  const app = new Elysia(serverSettings((): AnyElysia => app))
    .use(observed.plugin)
    .use(errors(context, createLimits(context), missingAmong(methodsOf)))
    .use(metrics)
  return observed.provideState(app)
}

/** The type of the HTTP service with all of its routes, from which Eden Treaty types a client. */
export type App = ReturnType<typeof createApp>

/** Does the work on the first call, and gives the same result to every call. */
function once<T>(work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | null = null
  return () => {
    result ??= work()
    return result
  }
}

const EXPOSED_HEADERS = [
  'RateLimit-Limit',
  'RateLimit-Remaining',
  'RateLimit-Reset',
  'Retry-After',
  'Idempotent-Replayed',
  'X-Request-Id',
  'Link',
  'WWW-Authenticate',
  'X-Search-Truncated',
]

type IsForBrowsers = (request: Request) => boolean

/** Whether a request is for a page, or for a route below /session. */
function isAmong(routes: AnyElysia['routes']): IsForBrowsers {
  const paths = new Set(routes.map(({ path }) => withoutSlash(path)))
  return (request) => {
    const path = withoutSlash(pathOf(request))
    const isBelow = /^\/(?:session|console|portal\/assets)(?:\/|$)|^\/portal$/.test(path)
    return paths.has(path) || isBelow || (path === '/' && prefersPage(request))
  }
}

/**
 * CORS for exact origins; without any, no hook at all. `credentials` stays false: what other origins may call takes no
 * cookie. What takes the cookie has no CORS headers at all (people.md, section 2, rule 10).
 */
function crossOrigin({ corsOrigins: origins, apiKeyHeaders }: Config, isForBrowsers: IsForBrowsers) {
  if (origins.length === 0) return new Elysia()
  const withoutCors = (response: Response) => {
    for (const name of [...response.headers.keys()])
      if (name.startsWith('access-control-')) response.headers.delete(name)
    return response
  }
  const plugin = cors({
    origin: [...origins],
    credentials: false,
    methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
    allowedHeaders: [
      'Authorization',
      'Content-Type',
      'X-API-Key',
      ...apiKeyHeaders,
      'Idempotency-Key',
      'X-Request-Id',
      'traceparent',
      'tracestate',
    ],
    exposeHeaders: EXPOSED_HEADERS,
    maxAge: 600,
  })
  return new Elysia().use(plugin).wrap(
    wrapWith((request, answer) => {
      if (!isForBrowsers(request)) return answer(request)
      const answered = answer(request)
      return answered instanceof Promise ? answered.then(withoutCors) : withoutCors(answered)
    }),
  )
}
