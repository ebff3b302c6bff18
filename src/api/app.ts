import { cors } from '@elysiajs/cors'
import { type AnyElysia, Elysia } from 'elysia'
import type { Context } from '../core/context.ts'
import { auth } from './auth.ts'
import { type AddressOf, createAddressOf } from './client-address.ts'
import { compressAnswer } from './compression.ts'
import { recogniseCredential } from './credential.ts'
import { docs } from './docs.ts'
import { errors } from './errors.ts'
import { forwardAuth, forwardAuthDescription } from './forward-auth/routes.ts'
import { observe } from './observe.ts'
import { openApiDocument } from './openapi.ts'
import { createLimits } from './rate-limit.ts'
import { type RequestState, stated } from './request-state.ts'
import { createRouteTable } from './route-table.ts'
import { auditRoutes } from './routes/audit.ts'
import { authRoutes } from './routes/auth.ts'
import { protectedRoutes } from './routes/examples.ts'
import { type IsDraining, opsRoutes, rootRoute } from './routes/health.ts'
import { importRoutes } from './routes/import.ts'
import { signingRoutes } from './routes/jwks.ts'
import { keyRoutes } from './routes/keys.ts'
import { metricsRoute } from './routes/metrics.ts'
import { metadataRoute, oauthRoutes } from './routes/oauth.ts'
import { passkeyRoutes } from './routes/passkeys.ts'
import { secondFactorRoutes } from './routes/second-factors.ts'
import { serviceAccountRoutes } from './routes/service-accounts.ts'
import { sessionRoutes } from './routes/sessions.ts'
import { userRoutes } from './routes/users.ts'
import { verifyRoutes } from './routes/verify.ts'

/** What only the process around the service knows. */
export type AppOptions = { isDraining?: IsDraining; addressOf?: AddressOf }

/** The HTTP service put together. It listens nowhere yet, and asks the database nothing until a request comes. */
export function createApp(context: Context, options: AppOptions = {}) {
  const limits = createLimits(context)
  const guard = auth(context)
  const isDraining = options.isDraining ?? (() => false)

  const unlimited = new Elysia()
    .use(opsRoutes(context, isDraining))
    .use(metricsRoute(context, context.config.metricsToken !== null))
    .use(protectedRoutes(guard))
    .use(verifyRoutes(context, guard))

  const limited = new Elysia()
    .use(stated)
    .use(limits.plugin)
    .mapResponse(limits.answerRefused)
    .mapResponse(compressAnswer)
    .use(rootRoute())
    .use(authRoutes(context, guard))
    .use(sessionRoutes(context, guard))
    .use(secondFactorRoutes(context, guard))
    .use(passkeyRoutes(context, guard))
    .use(importRoutes(context, guard))
    .use(keyRoutes(context, guard))
    .use(serviceAccountRoutes(context, guard))
    .use(userRoutes(context, guard))
    .use(auditRoutes(context, guard))
    .use(oauthRoutes(context, guard, limits))
    .use(signingRoutes(context))
    .use(metadataRoute(context))

  const document = once(() =>
    openApiDocument(
      new Elysia().use(unlimited).use(limited).use(forwardAuthDescription()),
      context.config.publicUrl,
    ),
  )
  const documented = docs(context.config.docs, document)
  const routes = createRouteTable([unlimited, limited, documented].flatMap((part) => part.routes))
  const addressOf = options.addressOf ?? createAddressOf(context.config, context.log)
  const prepare = (state: RequestState) => recogniseCredential(context, routes.isGuarded, state)
  const observed = observe(context, addressOf, prepare, isDraining)
  const door = forwardAuth(context, limits, observed.observed)
  const app = new Elysia(settingsOf((): AnyElysia => app, door))
    .use(observed.plugin)
    .use(errors(context, limits, routes.methodsOf))
    .use(crossOrigin(context.config.corsOrigins))
    .use(unlimited)
    .use(limited)
    .use(documented)
  observed.provideState(app)
  prepareOnlyWhatIsUsed(app)
  return app
}

/** What METRICS_PORT serves: /metrics, and nothing else. */
export function createMetricsApp(context: Context) {
  const metrics = metricsRoute(context, true)
  const { methodsOf } = createRouteTable(metrics.routes)
  const addressOf = createAddressOf(context.config, context.log)
  const observed = observe(context, addressOf, () => undefined)
  const app = new Elysia(settingsOf((): AnyElysia => app))
    .use(observed.plugin)
    .use(errors(context, createLimits(context), methodsOf))
    .use(metrics)
  return observed.provideState(app)
}

/**
 * Of everything that listens.
 * @param routes of Bun's own router
 */
const settingsOf = (app: () => AnyElysia, routes: Record<string, (request: Request) => Answer> = {}) => ({
  // Normalising would make a body fit its schema before it is checked: drop unknown members, turn `[]` into `{}`.
  normalize: false,
  // Else Elysia takes no host for shorter than four characters, and looks for the path behind them.
  handler: { standardHostname: false },
  serve: { routes: { ...routes, '/*': (request: Request): Answer => answerUnrouted(app(), request) } },
})

/**
 * What none of the routes that Elysia gives to Bun's router takes: a slash at the end, a wrong path or method. Elysia
 * looks at the URL then, and where the Host header is missing (HTTP/1.0) or malformed, that is the target alone: it would
 * take the end of a longer path for a path, past the limit of that. Refused as by Bun, before it is a request.
 */
function answerUnrouted(app: AnyElysia, request: Request): Answer {
  return request.url.startsWith('http') ? app.fetch(request) : new Response(null, { status: 400 })
}

type Answer = Response | Promise<Response>

/**
 * From the text of every hook Elysia guesses what it uses, and prepares that for each request of each route. The rate
 * limiter names cookies; nobody here has any.
 */
function prepareOnlyWhatIsUsed(app: unknown): void {
  const { inference } = app as { inference: Record<string, boolean> }
  inference.cookie = false
}

/** The HTTP service, typed by its routes: what Eden Treaty reads. */
export type App = ReturnType<typeof createApp>

/** Does the work when it is first asked for, and keeps what came out. */
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
  'X-Request-Id',
  'Link',
  'WWW-Authenticate',
]

/** Exact origins only; without any, nothing is hooked in. Credentials travel in headers, never in cookies. */
function crossOrigin(origins: readonly string[]) {
  if (origins.length === 0) return new Elysia()
  return cors({
    origin: [...origins],
    credentials: false,
    methods: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'],
    allowedHeaders: [
      'Authorization',
      'Content-Type',
      'X-API-Key',
      'Idempotency-Key',
      'X-Request-Id',
      'traceparent',
      'tracestate',
    ],
    exposeHeaders: EXPOSED_HEADERS,
    maxAge: 600,
  })
}
