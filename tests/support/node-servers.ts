/** Servers that the client protects, for Bun and for Node. */
import type { AddressInfo } from 'node:net'
import express from 'express'
import fastify from 'fastify'
import type { Client, KeyPrincipal, Principal, UserPrincipal } from 'latchkey/client'
import * as forExpress from 'latchkey/client/express'
import * as forFastify from 'latchkey/client/fastify'

/**
 * A server of a framework on loopback. Each route answers the caller's id: GET /user/:name, GET /admin, GET
 * /key (with "read"), GET /any, POST /body (any caller, with a JSON body). GET /open answers null. The server
 * trusts `X-Forwarded-For` from loopback.
 */
export type FrameworkServer = { url: string; stop(): Promise<unknown> }

/** Asserts at compile time that a value has exactly this type. */
export const isExactly =
  <T>() =>
  <U>(value: U & ([U, T] extends [T, U] ? unknown : never)) =>
    value

export const idOf = (principal: Principal | undefined) => ({
  id: principal?.kind === 'key' ? principal.keyId : (principal?.userId ?? null),
})

export async function startExpress(client: Client): Promise<FrameworkServer> {
  const { protect } = forExpress
  const app = express().set('trust proxy', 'loopback')
  app.get('/user/:name', protect(client, { kind: 'user' }), ({ params }, response) => {
    isExactly<string>()(params.name)
    response.json(idOf(isExactly<UserPrincipal>()(response.locals.principal)))
  })
  app.get('/admin', protect(client, { role: 'admin' }), (_, response) => {
    isExactly<'admin'>()(response.locals.principal.role)
    response.json(idOf(response.locals.principal))
  })
  app.get('/key', protect(client, { kind: 'key', scopes: ['read'] }), (_, response) => {
    response.json(idOf(isExactly<KeyPrincipal>()(response.locals.principal)))
  })
  app.get('/any', protect(client), (_, response) => {
    response.json(idOf(isExactly<Principal>()(response.locals.principal)))
  })
  app.post('/body', protect(client), express.json(), (request, response) => {
    response.json({ ...idOf(response.locals.principal), name: request.body.name })
  })
  app.get('/open', (_, response) => {
    response.json(idOf(response.locals.principal))
  })
  const server = app.listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () => new Promise((resolve) => server.close(resolve)),
  }
}

export async function startFastify(client: Client): Promise<FrameworkServer> {
  const { protect } = forFastify
  const app = fastify({ trustProxy: 'loopback' })
  const id = async ({ principal }: { principal?: Principal | undefined }) => idOf(principal)
  app.get('/user/:name', { onRequest: protect(client, { kind: 'user' }) }, id)
  app.get('/admin', { onRequest: protect(client, { role: 'admin' }) }, async ({ principal }) =>
    idOf(isExactly<Principal | undefined>()(principal)),
  )
  app.get('/key', { onRequest: protect(client, { kind: 'key', scopes: ['read'] }) }, id)
  app.get('/any', { onRequest: protect(client) }, id)
  app.post<{ Body: { name: string } }>(
    '/body',
    { onRequest: protect(client) },
    async ({ principal, body }) => ({ ...idOf(principal), name: body.name }),
  )
  app.get('/open', id)
  return { url: await app.listen({ port: 0, host: '127.0.0.1' }), stop: () => app.close() }
}
