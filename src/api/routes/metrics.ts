import { timingSafeEqual } from 'node:crypto'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { fail } from '../../lib/errors.ts'
import type { Secret } from '../../lib/secret.ts'
import { hashToken } from '../../lib/tokens.ts'
import { codedAnswer } from '../compression.ts'
import { readCredential } from '../credential.ts'

/**
 * GET /metrics, for Prometheus. METRICS_TOKEN is asked for wherever it is set.
 * @param isOffered false: there is no such path
 */
export function metricsRoute(context: Context, isOffered: boolean) {
  const app = new Elysia()
  if (!isOffered) return app
  const { metricsToken } = context.config
  // By import(), so that a service that nobody scrapes does not load what writes the text.
  const open = () => import('../exposition.ts').then(({ createExposition }) => createExposition(context))
  let exposition: ReturnType<typeof open> | null = null
  app.get(
    '/metrics',
    async ({ request }) => {
      if (metricsToken) requireToken(request, metricsToken)
      exposition ??= open()
      const registry = await exposition
      return codedAnswer(request.headers, await registry.metrics(), { 'content-type': registry.contentType })
    },
    { detail: { hide: true } },
  )
  return app
}

/** Hashes are of one length, and a guess at one says nothing of the token. */
function requireToken(request: Request, token: Secret): void {
  const shown = readCredential(request) ?? fail('missing_credential')
  if (!timingSafeEqual(hashToken(shown), hashToken(token.reveal()))) fail('invalid_token')
}
