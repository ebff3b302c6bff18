import type { Context, MiddlewareHandler } from 'hono'
import type { Client } from './index.ts'
import { type Exactly, type Need, type PrincipalOf, requireNeed } from './need.ts'
import { toResponse } from './refusal.ts'

/**
 * Middleware that lets only requests pass whose credential meets the need. The handler finds the caller at
 * `c.get('principal')`.
 * @param addressOf gives the client's address: Hono's `getConnInfo` of the runtime, or the header of a trusted proxy
 * @example app.get('/me', protect(client, { kind: 'user' }), (c) => c.json({ id: c.get('principal').userId }))
 */
export function protect<const N extends Need = Need>(
  client: Client,
  need?: Exactly<N>,
  addressOf?: (c: Context) => string | undefined,
): MiddlewareHandler<{ Variables: { principal: PrincipalOf<N> } }> {
  const asked: Need = requireNeed(need ?? {})
  return async (c, next) => {
    const principal = await client.authenticate(c.req.raw, { ...asked, ip: addressOf?.(c) })
    if (principal.kind === 'refused') return toResponse(principal)
    c.set('principal', principal as PrincipalOf<N>)
    await next()
  }
}
