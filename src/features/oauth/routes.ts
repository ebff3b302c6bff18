import { Elysia } from 'elysia'
import type { RateLimitName } from '../../config.ts'
import type { Context } from '../../context.ts'
import type { Guard } from '../../http/auth.ts'
import { readForm } from '../../http/body.ts'
import type { Limits } from '../../http/rate-limit.ts'
import { originOf } from '../../http/request-state.ts'
import { OAuthTokens, TokenForm } from './model.ts'
import { grantTokens } from './service.ts'

/** The limit that each grant shares with its twin under /auth. */
const POLICY_OF_GRANT: Record<string, RateLimitName> = { password: 'login', refresh_token: 'refresh' }

export const oauthRoutes = (context: Context, guard: Guard, limits: Limits) =>
  new Elysia({ prefix: '/oauth', tags: ['OAuth'] }).use(guard).post(
    '/token',
    async ({ body, state }) => {
      await limits.consume(POLICY_OF_GRANT[body.grant_type] ?? 'other', state)
      return grantTokens(context, originOf(state), body)
    },
    {
      parse: ({ request }) => readForm(request),
      body: TokenForm,
      response: { 200: OAuthTokens },
      detail: {
        operationId: 'getToken',
        summary: 'The token endpoint (RFC 6749): grants `password` and `refresh_token`',
      },
    },
  )
