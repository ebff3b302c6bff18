import { createServer, type Server, type Socket } from 'node:net'

/** A server on a loopback port that behaves almost like a database. */
export type TcpServer = { port: number; accepted(): number; close(): void }

/** Listens on a free port of 127.0.0.1, and passes each connection to `handle`. */
export async function listenOnTcp(handle: (socket: Socket) => void): Promise<TcpServer> {
  let accepted = 0
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    accepted++
    sockets.add(socket)
    socket.on('error', () => {})
    handle(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('no port was given')
  const close = () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
  return { port: address.port, accepted: () => accepted, close }
}
