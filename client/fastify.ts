import type { onRequestAsyncHookHandler } from 'fastify'
import { headersOfNode } from './credential.ts'
import type { Client } from './index.ts'
import { type Exactly, type Need, requireNeed } from './need.ts'
import type { Principal } from './principal.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The verified caller, on routes with `protect`. */
    principal?: Principal
  }
}

/**
 * A hook that lets only requests pass whose credential meets the need, before the body is read. The handler finds the
 * caller at `request.principal`. The client's address is `request.ip`: behind a proxy, set `trustProxy`.
 * @example app.get('/me', { onRequest: protect(client, { kind: 'user' }) }, (request) => request.principal)
 */
export function protect<const N extends Need = Need>(
  client: Client,
  need?: Exactly<N>,
): onRequestAsyncHookHandler {
  const asked: Need = requireNeed(need ?? {})
  return async (request, reply) => {
    const headers = headersOfNode(request.raw.rawHeaders)
    const principal = await client.authenticate({ headers }, { ...asked, ip: request.ip })
    if (principal.kind === 'refused')
      return reply.code(principal.status).headers(principal.headers).send(principal.body)
    request.principal = principal
  }
}
