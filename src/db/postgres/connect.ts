import type { Socket } from 'node:net'
import postgres from 'postgres'
import { databaseError } from '../errors.ts'
import { arrayTypes } from './array-types.ts'
import { closedWithoutWord, dial } from './dial.ts'
import { TRACKED_SETTINGS } from './session.ts'
import type { Encryption, Target } from './target.ts'
import { waitAtMost } from './wait-queue.ts'

type Options = Omit<postgres.Options<Record<string, postgres.PostgresType>>, 'types' | 'max'>

const CONNECT_TIMEOUT_SECONDS = 1.5
const CLOSE_TIMEOUT_MS = 500

/** A postgres.js client of one connection, and its end. */
export type Connection = {
  client: postgres.Sql
  /** Says goodbye to the server, once what is under way is done. */
  close(): Promise<void>
  /** Ends it at once, and whatever it was about to open. */
  destroy(): void
}

/**
 * One connection, made at first use, with what this service always wants: nothing waits long, nothing prints, the
 * settings in which text is written are ours, and a cut connection is an error of the query on it and of nothing else.
 */
export function connect(target: Target, encryption: Encryption, options: Options): Connection {
  const { host, port, user, password, database } = target
  const timeoutSeconds = Number(options.connect_timeout ?? CONNECT_TIMEOUT_SECONDS)
  const sockets = new Set<Socket>()
  let isOver = false
  let isDialled = false
  const openSocket = async () => {
    if (isOver) throw databaseError('CONNECTION_LOST', 'the connection is over')
    // The driver connects again, at once and without end, where the connection closes before the first answer.
    if (isDialled) throw closedWithoutWord(host, port)
    isDialled = true
    const socket = await dial(target, encryption, timeoutSeconds * 1000, (opened) => {
      // Until the driver listens for them, errors of a socket would end the process.
      opened.on('error', () => {})
      sockets.add(opened)
      opened.once('close', () => sockets.delete(opened))
      if (isOver) opened.destroy()
    })
    // For the driver's errors.
    return Object.assign(socket, { host, port })
  }
  const client = postgres({
    keep_alive: 10,
    // It would end a connection between two statements of a transaction.
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
    // Empty: it takes the user's, as libpq does.
    database,
    // `dial` does it.
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
