import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Network } from '../../src/core/client-metadata/fetch-document.ts'
import { makeCertificate } from './mail-server.ts'

/** The name that the server's certificate has. */
export const APP_HOST = 'app.example.com'
/** An address that the whole Internet reaches; a test connects to loopback in its place. */
export const PUBLIC_ADDRESS = '93.184.215.14'

/** What a test sees of the server, and says to it. */
export type DocumentServer = {
  asked: { path: string; headers: Record<string, unknown> }[]
  /** The names that were looked up. */
  resolved: string[]
  /** The addresses to which connections were made. */
  connected: string[]
  /** What the resolver answers: one list for each look-up, the last one for all that follow. */
  addresses: string[][]
  /** Whether the service trusts the server's certificate. */
  isTrusted: boolean
  serve(listener: RequestListener): void
  /** Answers every request with a JSON document. */
  serveJson(json: unknown, headers?: Record<string, string>): void
  forget(): void
  network: Network
  stop(): Promise<void>
}

/**
 * A real https server on loopback for the documents of apps, and the network by which a service reaches it: every name resolves
 * to `addresses`, and a connection to a resolved address arrives at this server.
 */
export async function startDocumentServer(): Promise<DocumentServer> {
  const certificate = makeCertificate(`DNS:${APP_HOST},DNS:other.example.com`)
  let answer: RequestListener = (_, response) => response.writeHead(404).end()
  const server = createTlsServer(certificate, (incoming, response) => {
    made.asked.push({ path: incoming.url ?? '', headers: incoming.headers })
    answer(incoming, response)
  })
  const port = await listen(server)
  const made: DocumentServer = {
    asked: [],
    resolved: [],
    connected: [],
    addresses: [[PUBLIC_ADDRESS]],
    isTrusted: true,
    serve(listener) {
      answer = listener
    },
    serveJson(json, headers = {}) {
      answer = (_, response) => {
        response.writeHead(200, { 'content-type': 'application/json', ...headers })
        response.end(JSON.stringify(json))
      }
    },
    forget() {
      for (const list of [made.asked, made.resolved, made.connected]) list.length = 0
      made.addresses = [[PUBLIC_ADDRESS]]
      made.isTrusted = true
    },
    network: {
      resolve: async (host) => {
        made.resolved.push(host)
        const [next = []] = made.addresses
        if (made.addresses.length > 1) made.addresses.shift()
        return next
      },
      request(options, callback) {
        const { lookup, host } = options
        if (options.port !== 443) throw new Error(`Port ${options.port}`)
        const ca = made.isTrusted ? certificate.cert : undefined
        return request(
          {
            ...options,
            port,
            lookup: (_, asks, done) => {
              // The address that the service chose, in place of which the connection goes to loopback.
              lookup?.(host ?? '', { all: false }, (_error, address) => {
                made.connected.push(String(address))
                if (asks.all) done(null, [{ address: '127.0.0.1', family: 4 }])
                else done(null, '127.0.0.1', 4)
              })
            },
            ca,
          },
          callback,
        )
      },
    },
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  return made
}

/** A server without TLS on loopback that counts who comes. */
export async function startTrap() {
  let visits = 0
  const server = createServer((_, response) => {
    visits += 1
    response.end('{}')
  })
  server.on('connection', () => {
    visits += 1
  })
  const port = await listen(server)
  return { url: `http://127.0.0.1:${port}`, visits: () => visits, stop: () => server.close() }
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
