import { cors } from '@elysiajs/cors'
import { type AnyElysia, Elysia } from 'elysia'
import type { Context } from '../core/context.ts'
import { auth } from './auth.ts'
import { type AddressOf, createAddressOf } from './client-address.ts'
import { compressAnswer } from './compression.ts'
import { recogniseCredential } from './credential.ts'
import { docs } from './docs.ts'
import { serverSettings, skipCookies } from './elysia.ts'
import { errors } from './errors.ts'
import { forwardAuth, forwardAuthDescription } from './forward-auth/routes.ts'
import { observe } from './observe.ts'
import { openApiDocument } from './openapi.ts'
import { createLimits } from './rate-limit.ts'
import { type RequestState, stated } from './request-state.ts'
import { createRouteTable } from './route-table.ts'
import { auditRoutes } from './routes/audit.ts'
import { authRoutes } from './routes/auth.ts'
import { errorPages } from './routes/error-pages.ts'
import { protectedRoutes } from './routes/examples.ts'
import { type IsDraining, opsRoutes, rootRoute } from './routes/health.ts'
import { importRoutes } from './routes/import.ts'
import { signingRoutes } from './routes/jwks.ts'
import { keyRoutes } from './routes/keys.ts'
import { metricsRoute } from './routes/metrics.ts'
import { metadataRoute, oauthRoutes } from './routes/oauth.ts'
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
    .mapResponse(compressAnswer)
    .use(rootRoute())
    .use(errorPages())
    .use(authRoutes(context, guard))
    .use(sessionRoutes(context, guard))
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
  const app = new Elysia(serverSettings((): AnyElysia => app, door))
    .use(observed.plugin)
    .use(errors(context, limits, routes.methodsOf))
    .use(crossOrigin(context.config.corsOrigins))
    .use(unlimited)
    .use(limited)
    .use(documented)
  observed.provideState(app)
  skipCookies(app)
  return app
}

/** What METRICS_PORT serves: /metrics, and nothing else. */
export function createMetricsApp(context: Context) {
  const metrics = metricsRoute(context, true)
  const { methodsOf } = createRouteTable(metrics.routes)
  const addressOf = createAddressOf(context.config, context.log)
  const observed = observe(context, addressOf, () => undefined)
  const app = new Elysia(serverSettings((): AnyElysia => app))
    .use(observed.plugin)
    .use(errors(context, createLimits(context), methodsOf))
    .use(metrics)
  return observed.provideState(app)
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
