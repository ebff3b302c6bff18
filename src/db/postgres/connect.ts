import type { Socket } from 'node:net'
import postgres from 'postgres'
import { databaseError } from '../errors.ts'
import { arrayTypes } from './array-types.ts'
import { closedWithoutAnswer, dial } from './dial.ts'
import { TRACKED_SETTINGS } from './session.ts'
import type { Encryption, Target } from './target.ts'
import { waitAtMost } from './wait-queue.ts'

type Options = Omit<postgres.Options<Record<string, postgres.PostgresType>>, 'types' | 'max'>

const CONNECT_TIMEOUT_SECONDS = 1.5
const CLOSE_TIMEOUT_MS = 500

/** A postgres.js client with one connection. */
export type Connection = {
  client: postgres.Sql
  /** Ends the connection after the statements in progress. */
  close(): Promise<void>
  /** Ends the connection at once, also one that is still being opened. */
  destroy(): void
}

/**
 * Makes a client with one connection, opened at its first use. No wait is long, nothing is printed, the
 * session settings are pinned, and a cut connection is an error only of the query that uses it.
 */
export function connect(target: Target, encryption: Encryption, options: Options): Connection {
  const { host, port, user, password, database } = target
  const timeoutSeconds = Number(options.connect_timeout ?? CONNECT_TIMEOUT_SECONDS)
  const sockets = new Set<Socket>()
  let isOver = false
  let isDialled = false
  const openSocket = async () => {
    if (isOver) throw databaseError('CONNECTION_LOST', 'the connection is over')
    // If the connection closes before the first answer, the driver would reconnect at once and without end.
    if (isDialled) throw closedWithoutAnswer(host, port)
    isDialled = true
    const socket = await dial(target, encryption, timeoutSeconds * 1000, (opened) => {
      // Until the driver listens for errors of the socket, an error would end the process.
      opened.on('error', () => {})
      sockets.add(opened)
      opened.once('close', () => sockets.delete(opened))
      if (isOver) opened.destroy()
    })
    // The driver's error messages need them.
    return Object.assign(socket, { host, port })
  }
  const client = postgres({
    keep_alive: 10,
    // `max_lifetime` could end a connection between two statements of a transaction.
    max_lifetime: null,
    onnotice: () => {},
    fetch_types: false,
    types: arrayTypes,
    ...options,
    connect_timeout: timeoutSeconds,
    host,
    port,
    ...(user !== null && { user }),
    password,
    // Empty: the server uses the user's name, as with libpq.
    database,
    // `dial` encrypts the connection.
    ssl: false,
    connection: {
      ...(target.options !== null && { options: target.options }),
      ...TRACKED_SETTINGS,
      ...options.connection,
    },
    max: 1,
    socket: openSocket,
  } as postgres.Options<Record<string, postgres.PostgresType>>)
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
