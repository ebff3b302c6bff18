import { timingSafeEqual } from 'node:crypto'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { fail } from '../../lib/errors.ts'
import type { Secret } from '../../lib/secret.ts'
import { hashToken } from '../../lib/tokens.ts'
import { codedAnswer } from '../compression.ts'
import { readCredential } from '../credential.ts'

/**
 * GET /metrics, for Prometheus. It asks for METRICS_TOKEN where that is set.
 * @param isOffered false: the app has no such path
 */
export function metricsRoute(context: Context, isOffered: boolean) {
  const app = new Elysia()
  if (!isOffered) return app
  const { metricsToken } = context.config
  // Loaded at the first scrape: prom-client costs memory, which a service without Prometheus should not pay.
  const open = () => import('../exposition.ts').then(({ createExposition }) => createExposition(context))
  let exposition: ReturnType<typeof open> | null = null
  app.get(
    '/metrics',
    async ({ request }) => {
      if (metricsToken) requireToken(context, request, metricsToken)
      exposition ??= open()
      const registry = await exposition
      return codedAnswer(request.headers, await registry.metrics(), { 'content-type': registry.contentType })
    },
    { detail: { hide: true } },
  )
  return app
}

/** Compares hashes: they have one length, and the time of the comparison tells nothing about the token. */
function requireToken({ config }: Context, request: Request, token: Secret): void {
  const presented = readCredential(config, request) ?? fail('missing_credential')
  if (!timingSafeEqual(hashToken(presented), hashToken(token.reveal()))) fail('invalid_token')
}
