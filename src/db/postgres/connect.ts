import { connect as connectSocket, Socket } from 'node:net'
import postgres from 'postgres'
import { arrayTypes } from './array-types.ts'
import { waitAtMost } from './wait-queue.ts'

type Options = Omit<postgres.Options<Record<string, postgres.PostgresType>>, 'types' | 'max'>
type Address = { host: string; port: number }

const CONNECT_TIMEOUT_SECONDS = 1.5
const CLOSE_TIMEOUT_MS = 500

const URL_PARTS = /^[a-z]+:\/\/(?:[^/?]*@)?(?:\[([^\]]*)\]|([^/?@:,]*))(?::(\d+))?(?:\/([^?]*))?(?:\?|$)/i

/** A postgres.js client of one connection, and its end. */
export type Connection = {
  client: postgres.Sql
  /** Says goodbye to the server, once what is under way is done. */
  close(): Promise<void>
  /** Ends it at once, and whatever it was about to open. */
  destroy(): void
}

/**
 * One connection to `url`, made at first use, with what this service always wants: nothing waits long, nothing prints,
 * and a cut connection is an error of the query on it and of nothing else.
 * @throws Error when the URL names more than one host
 */
export function connect(url: string, options: Options): Connection {
  const parts = URL_PARTS.exec(url)
  if (!parts)
    throw new Error('the database URL must name one host: that of the primary, or of a proxy before it')
  const [, ipv6, name = '', port, database = ''] = parts
  const address = { host: ipv6 ?? decodeURIComponent(name), port: Number(port ?? 5432) }
  const sockets = new Set<Socket>()
  let isOver = false
  const openSocket = () => {
    // The driver may be on its way to another attempt when it is told to end.
    const socket = isOver ? new Socket().destroy() : dial(address)
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    // For the driver: the name in the certificate, and in its errors.
    return Object.assign(socket, address)
  }
  const all = {
    connect_timeout: CONNECT_TIMEOUT_SECONDS,
    keep_alive: 10,
    // It would end a connection between two statements of a transaction.
    max_lifetime: null,
    onnotice: () => {},
    fetch_types: false,
    types: arrayTypes,
    ...options,
    ...address,
    max: 1,
    // The driver does not decode the name. Empty: it takes the user's, as libpq does.
    database: decodeURIComponent(database),
    socket: openSocket,
  }
  const client = postgres(url, all)
  const destroy = () => {
    isOver = true
    void client.end({ timeout: 0 })
    for (const socket of sockets) socket.destroy()
  }
  const close = async () => {
    await waitAtMost(CLOSE_TIMEOUT_MS, client.end())
    destroy()
  }
  return { client, close, destroy }
}

/**
 * Where something accepts and then closes, as a proxy does whose server is away, the driver connects again at once and
 * without end. Here that is an error.
 */
function dial(address: Address): Socket {
  const socket = connectSocket(address)
  socket.once('end', () => {
    if (socket.bytesRead > 0) return
    const message = `${address.host}:${address.port} closed the connection without a word`
    socket.destroy(Object.assign(new Error(message), { code: 'ECONNRESET' }))
  })
  return socket
}
