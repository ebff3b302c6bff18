import type { Secret } from '../../lib/secret.ts'
import type { DatabaseConfig } from '../database.ts'
import { errorCode } from '../errors.ts'
import { connect } from './connect.ts'
import type { ListenEvents } from './listen.ts'
import { createPool, SILENCE_GRACE_MS } from './pool.ts'
import {
  askState,
  asksForReadOnly,
  type ConnectionEvents,
  connectToPrimary,
  type Hosts,
  type PrimaryConnection,
  STANDBY,
} from './primary.ts'
import { LATER_SETTINGS, type SessionSettings, sessionSettings, TRACKED_SETTINGS } from './session.ts'
import { type Encryption, isSocketPath, readTargets, type Target } from './target.ts'
import type { Timelines } from './timelines.ts'

/** How the server at a URL can be reached, as determined by trying. */
export type Reached = {
  /** @param purpose the `application_name` that the server displays */
  connect(
    purpose: Purpose,
    options: { prepare: boolean } & Partial<ConnectionEvents & ListenEvents>,
  ): PrimaryConnection
  /**
   * Settings that the server, or a pooler in front of it, does not keep for the session. Each transaction has
   * to set them.
   */
  unpinned: SessionSettings
  hasSeveralHosts: boolean
}

/** The purpose of a connection. `latchkey` runs the queries of requests. */
export type Purpose = 'latchkey' | 'latchkey heartbeat' | 'latchkey listener' | 'latchkey migrate'

const OLDEST_VERSION = 14

/**
 * Determines how the server can be reached: with which encryption, and whether it accepts session settings at
 * the start of a connection. There they take precedence over the settings of the role and of the database.
 * Several hosts must be configured alike.
 * @param timelines shared by all connections of one instance
 * @throws Error with one sentence if the server is too old or accepts no writes; else the error of the last
 *   attempt if every attempt fails
 */
export async function reach(
  url: Secret,
  { databaseStatementTimeoutMs, databaseConnectTimeoutMs: timeoutMs, mode }: ReachConfig,
  timelines: Timelines,
): Promise<Reached> {
  const mayBeReadOnly = mode === 'verify'
  const hosts: Hosts = { ...readTargets(url.reveal()), last: null, timeoutMs, timelines, mayBeReadOnly }
  const settings = sessionSettings(databaseStatementTimeoutMs, mayBeReadOnly)
  const all = { ...settings, ...LATER_SETTINGS }
  const withStartup = (encryption: Encryption, startup: SessionSettings): Reached['connect'] => {
    const { connection, andThen } = asksForReadOnly(hosts) ? askForReadOnly(startup) : startAs(startup)
    return (purpose, { onclose, ondropped, onunconfirmed, ...options }) =>
      connectToPrimary(
        hosts,
        (target, events) =>
          connect(target, isSocketPath(target.host) ? 'off' : encryption, {
            ...options,
            connect_timeout: timeoutMs / 1000,
            connection: { application_name: purpose, ...connection },
            onclose: events.onclose,
            // The message is in the server's language; the name of the function is not.
            onnotice: ({ routine }) => {
              if (routine === 'SyncRepWaitForLSN') onunconfirmed?.()
            },
            onparameter: (name, value) => {
              if (name === 'in_hot_standby' && value === 'on') events.onstandby()
            },
          }),
        (client) => askState(client, andThen),
        { ...(onclose && { onclose }), ...(ondropped && { ondropped }) },
      )
  }
  /** A pooler, or a server that is too old, does not know all settings. */
  const withFewer = async (encryption: Encryption): Promise<Reached> => {
    const attempt = async (startup: SessionSettings): Promise<Reached> => {
      const connect = withStartup(encryption, startup)
      const unpinned = await findUnpinned(connect, all)
      return { connect, unpinned, hasSeveralHosts: hosts.hosts.length > 1 }
    }
    const orFewer = (startup: SessionSettings) => (error: unknown) => {
      if (!isSettingRefused(error)) throw error
      return attempt(startup)
    }
    return attempt(all).catch(orFewer(settings)).catch(orFewer({}))
  }
  const [first] = hosts.hosts
  const { encryptions } = hosts.hosts.find(({ host }) => !isSocketPath(host)) ?? first
  return tryEncryptions(encryptions, withFewer)
}

type ReachConfig = Pick<DatabaseConfig, 'databaseStatementTimeoutMs' | 'databaseConnectTimeoutMs' | 'mode'>

const startAs = (connection: SessionSettings) => ({ connection, andThen: '' })

/**
 * Of several hosts, one that an operator made read-only is passed over. The server tells that only to a connection that
 * does not begin with a setting of its own, so the setting is pinned after the question.
 */
function askForReadOnly(startup: SessionSettings): ReturnType<typeof startAs> {
  const { default_transaction_read_only: pinned, ...connection } = startup
  if (pinned === undefined) return startAs(startup)
  return { connection, andThen: `SET default_transaction_read_only = ${pinned}` }
}

/**
 * Tries the encryptions that `sslmode` allows, in order, as long as the server refuses the connection because
 * of its encryption.
 */
export async function tryEncryptions<T>(
  encryptions: Target['encryptions'],
  attempt: (encryption: Encryption) => Promise<T>,
): Promise<T> {
  const [first, ...others] = encryptions
  return others.reduce(
    (tried, other) =>
      tried.catch((error: unknown) => {
        if (!isEncryptionRefused(error)) throw error
        return attempt(other)
      }),
    attempt(first),
  )
}

/** PgBouncer accepts only startup parameters that it knows or is configured to ignore. */
function isSettingRefused(error: unknown): boolean {
  const code = errorCode(error)
  return (
    code === '42704' ||
    (code === '08P01' && error instanceof Error && /startup parameter/.test(error.message))
  )
}

/** The server's pg_hba.conf has no entry for this user with this encryption. */
const isEncryptionRefused = (error: unknown) => errorCode(error) === '28000'

const READ_ONLY = 'default_transaction_read_only'

const SURVEY = `SELECT lower(name) AS name, setting, source FROM pg_catalog.pg_settings
  WHERE lower(name) = ANY($1::text[])`

async function findUnpinned(
  connectAs: Reached['connect'],
  settings: SessionSettings,
): Promise<SessionSettings> {
  const open = (events: ConnectionEvents) => connectAs('latchkey', { prepare: false, ...events })
  const pool = createPool(open, 1, Number(settings.statement_timeout) + SILENCE_GRACE_MS)
  try {
    const names = [...Object.keys(settings), 'server_version_num', 'in_hot_standby']
    const rows = await pool.query(SURVEY, [`{${names}}`])
    const found = new Map(rows.map((row) => [row.name, row]))
    assertUsable({
      version: Number(found.get('server_version_num')?.setting),
      standby: found.get('in_hot_standby')?.setting === 'on',
    })
    /**
     * A setting that has the right value only by chance is not pinned: an operator may change it, and later
     * connections of a pooler then differ. For a later setting that is accepted: the difference is an error that is
     * seen, and poolers are not configured for the setting yet.
     */
    const isPinned = ([name, value]: [string, string]) => {
      const { setting, source } = found.get(name) ?? {}
      const isKept = name in TRACKED_SETTINGS || name in LATER_SETTINGS
      return setting === value && (isKept || source === 'client' || source === 'session')
    }
    const known = Object.entries(settings).filter(([name]) => found.has(name))
    const unpinned = known.filter((setting) => !isPinned(setting))
    // A transaction that sets anything also says whether it writes.
    const readOnly = known.filter(([name, value]) => name === READ_ONLY && value === 'on')
    return Object.fromEntries(unpinned.length === 0 ? [] : [...unpinned, ...readOnly])
  } catch (error) {
    throw errorCode(error) === 'STANDBY' ? new Error(STANDBY, { cause: error }) : error
  } finally {
    await pool.close(0)
  }
}

/**
 * Checks that the server can be used.
 * @param server `version`: its `server_version_num`, such as 140011; `standby`: whether it is in recovery
 * @throws Error with one sentence if it is too old or accepts no writes
 */
export function assertUsable(server: { version: number; standby: boolean }): void {
  const major = Math.floor(server.version / 10_000)
  if (!(major >= OLDEST_VERSION)) {
    throw new Error(`the server is PostgreSQL ${major}; Latchkey needs ${OLDEST_VERSION} or later`)
  }
  if (server.standby) throw new Error(STANDBY)
}
