import type { NextFunction, Request, Response } from 'express'
import { headersOfNode } from './credential.ts'
import type { Client } from './index.ts'
import { type Exactly, type Need, type PrincipalOf, requireNeed } from './need.ts'

/** A handler that requires nothing of the route's parameters, so that Express can still infer their types. */
type Handler<P> = (
  request: Pick<Request, 'rawHeaders' | 'ip'>,
  response: Pick<Response<unknown, { principal: P }>, 'locals' | 'writeHead'>,
  next: NextFunction,
) => Promise<void>

/**
 * Middleware that lets only requests pass whose credential meets the need. Later handlers find the caller at
 * `response.locals.principal`. The client's address is `request.ip`: behind a proxy, set `trust proxy`.
 * @example
 * app.get('/me', protect(client, { kind: 'user' }), (_, response) => response.json({ id: response.locals.principal.userId }))
 */
export function protect<const N extends Need = Need>(
  client: Client,
  need?: Exactly<N>,
): Handler<PrincipalOf<N>> {
  const asked: Need = requireNeed(need ?? {})
  return async (request, response, next) => {
    const headers = headersOfNode(request.rawHeaders)
    const principal = await client.authenticate({ headers }, { ...asked, ip: request.ip })
    if (principal.kind === 'refused') {
      response.writeHead(principal.status, principal.headers).end(principal.body)
      return
    }
    response.locals.principal = principal as PrincipalOf<N>
    next()
  }
}
