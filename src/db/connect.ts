import { connect as connectSocket, type Socket } from 'node:net'
import postgres from 'postgres'
import { arrayTypes } from './array-types.ts'

type Options = Omit<postgres.Options<Record<string, postgres.PostgresType>>, 'types'>
type Address = { host: string; port: number }

const URL_PARTS = /^[a-z]+:\/\/(?:[^/?]*@)?(?:\[([^\]]*)\]|([^/?@:,]*))(?::(\d+))?(?:\/([^?]*))?(?:\?|$)/i

/**
 * A postgres.js client for `url`, with what this service always wants: nothing waits long, nothing prints, and a cut
 * connection is an error of the query on it and of nothing else.
 */
export function connect(url: string, options: Options): postgres.Sql {
  const parts = URL_PARTS.exec(url)
  if (!parts)
    throw new Error('the database URL must name one host: that of the primary, or of a proxy before it')
  const [, ipv6, name = '', port, database = ''] = parts
  const address = { host: ipv6 ?? decodeURIComponent(name), port: Number(port ?? 5432) }
  const all = {
    connect_timeout: 1.5,
    keep_alive: 10,
    onnotice: () => {},
    fetch_types: false,
    types: arrayTypes,
    ...options,
    ...address,
    // The driver does not decode the name. Empty: it takes the user's, as libpq does.
    database: decodeURIComponent(database),
    socket: () => openSocket(address),
  }
  return postgres(url, all)
}

/**
 * The driver takes an IPv6 address apart at its colons; and where something accepts and then closes, as a proxy does
 * whose server is away, it connects again at once and without end. Here that is an error.
 */
function openSocket(address: Address): Socket {
  const socket = connectSocket(address)
  socket.once('end', () => {
    if (socket.bytesRead > 0) return
    const message = `${address.host}:${address.port} closed the connection without a word`
    socket.destroy(Object.assign(new Error(message), { code: 'ECONNRESET' }))
  })
  // For the driver: the name in the certificate, and in its errors.
  return Object.assign(socket, address)
}
