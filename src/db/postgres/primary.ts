import type postgres from 'postgres'
import { databaseError, errorCode, mayPass } from '../errors.ts'
import type { Connection } from './connect.ts'
import type { Target, Targets } from './target.ts'
import type { History, Timelines } from './timelines.ts'

export const STANDBY = 'the server is a standby, which takes no writes: DATABASE_URL must name the primary'

/** When the next host is started beside one that has not answered yet. */
const NEXT_HOST_AFTER_MS = 250

/** A connection to the server that takes writes, which may still be opening. */
export type PrimaryConnection = Pick<Connection, 'close' | 'destroy'> & {
  /** Rejects if no host takes writes. */
  ready: Promise<postgres.Sql>
}

/**
 * The events of a connection: it ended, it is dropped because its server was replaced as the primary, or no standby
 * confirmed the commit that comes next.
 */
export type ConnectionEvents = { onclose(): void; ondropped(why: Error): void; onunconfirmed(): void }

/** Begins a connection to one host, with events of it alone. */
type Begin = (target: Target, events: { onclose(): void; onstandby(): void }) => Connection

/**
 * The hosts of a URL, which of them took writes last, and how long each may take. `mayBeReadOnly`: transactions only read,
 * as those of a verifier.
 */
export type Hosts = Targets & {
  last: number | null
  timeoutMs: number
  timelines: Timelines
  mayBeReadOnly: boolean
}

/** Whether a host that an operator made read-only is passed over. */
export const asksForReadOnly = ({ hosts, mayBeReadOnly }: Hosts): boolean =>
  hosts.length > 1 && !mayBeReadOnly

/**
 * Opens a connection to the host that takes writes. The host that last worked is tried first. The next one is started
 * beside it after 250 ms, or at once when it fails. The first that answers and takes writes is used, and the others are
 * closed.
 * @param ask asks a new connection for the state of its server
 */
export function connectToPrimary(
  hosts: Hosts,
  begin: Begin,
  ask: (client: postgres.Sql) => Promise<ServerState>,
  events: Partial<Pick<ConnectionEvents, 'onclose' | 'ondropped'>>,
): PrimaryConnection {
  const begun = new Set<Connection>()
  let used: Connection | null = null
  let isOver = false

  const attempt = async (index: number): Promise<Connection> => {
    const target = hosts.hosts[index] as Target
    if (isOver) throw databaseError('CONNECTION_LOST', 'the connection is over')
    const failed = Promise.withResolvers<never>()
    let forget = () => {}
    const connection = begin(target, {
      onclose: () => {
        forget()
        if (used === connection) events.onclose?.()
      },
      onstandby: () => failed.reject(databaseError('STANDBY', STANDBY)),
    })
    begun.add(connection)
    const late = `${target.host}:${target.port} did not say within ${hosts.timeoutMs} ms whether it takes writes`
    const timer = setTimeout(() => failed.reject(databaseError('CONNECT_TIMEOUT', late)), hosts.timeoutMs)
    try {
      const { isStandby, isReadOnly, history } = await Promise.race([ask(connection.client), failed.promise])
      if (isStandby) throw databaseError('STANDBY', STANDBY)
      // Transactions of Latchkey say themselves that they write. So this only makes another host better.
      if (isReadOnly && asksForReadOnly(hosts))
        throw databaseError('STANDBY', 'the server is read-only (default_transaction_read_only)')
      const drop = (why: Error) => {
        if (used === connection) events.ondropped?.(why)
        connection.destroy()
      }
      if (history) forget = hosts.timelines.record(history, drop)
      return connection
    } catch (error) {
      begun.delete(connection)
      connection.destroy()
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  const open = async (): Promise<postgres.Sql> => {
    const { index, connection } = await firstToSucceed(orderOf(hosts), attempt, hosts.hosts)
    hosts.last = index
    used = connection
    for (const other of begun) if (other !== connection) other.destroy()
    return connection.client
  }
  const destroy = () => {
    isOver = true
    for (const connection of begun) connection.destroy()
  }
  const ready = open()
  // `destroy` may come before the first use.
  ready.catch(() => {})
  return { ready, destroy, close: async () => (used ? used.close() : destroy()) }
}

/** The order in which the hosts are tried: the one that last worked, then the others. */
function orderOf({ hosts, last, isShuffled }: Hosts): number[] {
  const order = [...hosts.keys()]
  if (isShuffled) {
    for (let i = order.length - 1; i > 0; i--) {
      const j = Math.floor(Math.random() * (i + 1))
      ;[order[i], order[j]] = [order[j] as number, order[i] as number]
    }
  }
  return last === null ? order : [last, ...order.filter((index) => index !== last)]
}

function firstToSucceed(
  order: readonly number[],
  attempt: (index: number) => Promise<Connection>,
  hosts: readonly Target[],
): Promise<{ index: number; connection: Connection }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ index: number; connection: Connection }>()
  const errors = new Map<number, unknown>()
  let started = 0
  let isDone = false
  let timer: Timer | undefined
  const startNext = () => {
    clearTimeout(timer)
    const index = order[started]
    if (isDone || index === undefined) return
    started += 1
    if (started < order.length) timer = setTimeout(startNext, NEXT_HOST_AFTER_MS)
    attempt(index).then(
      (connection) => {
        if (isDone) return connection.destroy()
        isDone = true
        clearTimeout(timer)
        resolve({ index, connection })
      },
      (error: unknown) => {
        errors.set(index, error)
        if (errors.size === order.length) reject(combine(hosts, errors))
        else startNext()
      },
    )
  }
  startNext()
  return promise
}

/**
 * One error for all hosts. A refusal that another way to connect may avoid (`reach`) is that refusal, and so is one that
 * all hosts give, such as a wrong password. A refusal of some hosts alone may come from a standby that lags, while a
 * failover is under way.
 */
function combine(hosts: readonly Target[], errors: ReadonlyMap<number, unknown>): unknown {
  const all = [...errors.values()]
  if (all.length === 1) return all[0]
  const isLasting = (error: unknown) => !mayPass(error) && errorCode(error) !== 'STANDBY'
  const found = all.find((error) => /^(42704|08P01|28000)$/.test(errorCode(error) ?? '') && isLasting(error))
  if (found !== undefined) return found
  if (all.every(isLasting)) return all[0]
  const why = hosts.map(({ host, port }, index) => {
    const error = errors.get(index)
    return `${host}:${port}: ${error instanceof Error ? error.message : error}`
  })
  return databaseError('NO_PRIMARY', `no host takes writes (${why.join('; ')})`)
}

/** What a server says of itself. `history`: null where it does not tell. */
export type ServerState = { isStandby: boolean; isReadOnly: boolean; history: History | null }

const STATE = `pg_catalog.pg_is_in_recovery() AS standby,
  pg_catalog.current_setting('default_transaction_read_only') = 'on' AS read_only`
/** The first eight digits of the name of a WAL file are its timeline. A standby has none of its own. */
const HISTORY = `(SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system,
  CASE WHEN NOT pg_catalog.pg_is_in_recovery()
    THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) END AS wal_file`

/**
 * Asks a server for its state, in one round trip.
 * @param andThen a statement without rows that follows in the same round trip
 */
export async function askState(client: postgres.Sql, andThen = ''): Promise<ServerState> {
  const rows = await client.unsafe(`SELECT ${STATE}, ${HISTORY}; ${andThen}`).catch((error: unknown) => {
    // The server does not have these functions, or the role may not call them.
    if (!/^(0A000|42501|42883)$/.test(errorCode(error) ?? '')) throw error
    return client.unsafe(`SELECT ${STATE}; ${andThen}`)
  })
  const [row] = rows
  const timeline = Number.parseInt(row?.wal_file?.slice(0, 8) ?? '', 16)
  return {
    isStandby: row?.standby === true,
    isReadOnly: row?.read_only === true,
    history: timeline > 0 ? { system: String(row?.system), timeline } : null,
  }
}
