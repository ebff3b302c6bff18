import type { Secret } from '../../lib/secret.ts'
import { errorCode } from '../errors.ts'
import { type Connection, connect } from './connect.ts'
import type { ListenEvents } from './listen.ts'
import { type ConnectionEvents, createPool } from './pool.ts'
import { LATER_SETTINGS, type SessionSettings, sessionSettings, TRACKED_SETTINGS } from './session.ts'
import { type Encryption, readTarget, type Target } from './target.ts'

/** How the server at a URL is reached, as was found out by trying. */
export type Reached = {
  /** @param purpose what the server shows as `application_name` */
  connect(
    purpose: Purpose,
    options: { prepare: boolean } & Partial<ConnectionEvents & ListenEvents>,
  ): Connection
  /** What the server or a pooler before it does not keep for the session; each transaction has to set it. */
  unpinned: SessionSettings
}

/** `latchkey` serves. */
export type Purpose = 'latchkey' | 'latchkey heartbeat' | 'latchkey listener' | 'latchkey migrate'

const OLDEST_VERSION = 14
/** Over the server's own statement timeout, how long a connection may be silent before it counts as dead. */
export const SILENCE_GRACE_MS = 500

export const STANDBY = 'the server is a standby, which takes no writes: DATABASE_URL must name the primary'

/**
 * Finds out how the server is reached: with which encryption, and whether it takes our settings with the start of a
 * connection, where they win over those of the role and the database.
 * @throws Error with one sentence when it is too old or takes no writes; what the last attempt throws when none gets through
 */
export async function reach(url: Secret, statementTimeoutMs: number): Promise<Reached> {
  const target = readTarget(url.reveal())
  const settings = sessionSettings(statementTimeoutMs)
  const all = { ...settings, ...LATER_SETTINGS }
  const withStartup =
    (encryption: Encryption, startup: SessionSettings): Reached['connect'] =>
    (purpose, { onstandby, ...options }) =>
      connect(target, encryption, {
        ...options,
        connection: { application_name: purpose, ...startup },
        onparameter: (name, value) => {
          if (name === 'in_hot_standby' && value === 'on') onstandby?.()
        },
      })
  /** Not all of the settings are known to a pooler, or to a server that is too old. */
  const withFewer = async (encryption: Encryption): Promise<Reached> => {
    const attempt = async (startup: SessionSettings): Promise<Reached> => {
      const connect = withStartup(encryption, startup)
      return { connect, unpinned: await findUnpinned(connect, all) }
    }
    const orFewer = (startup: SessionSettings) => (error: unknown) => {
      if (!isSettingRefused(error)) throw error
      return attempt(startup)
    }
    return attempt(all).catch(orFewer(settings)).catch(orFewer({}))
  }
  return tryEncryptions(target, withFewer)
}

/** Tries what `sslmode` allows, one after the other, while the server refuses the connection for its encryption. */
export async function tryEncryptions<T>(
  { encryptions }: Target,
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

/** PgBouncer lets through only the startup parameters that it knows or was told to ignore. */
function isSettingRefused(error: unknown): boolean {
  const code = errorCode(error)
  return (
    code === '42704' ||
    (code === '08P01' && error instanceof Error && /startup parameter/.test(error.message))
  )
}

/** The server's pg_hba.conf has no entry for this user with this encryption. */
const isEncryptionRefused = (error: unknown) => errorCode(error) === '28000'

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
     * What only happens to be right now may be changed by an operator, for the connections that a pooler makes later. Of a
     * later setting that would be an error that is seen, and no pooler is configured for it yet.
     */
    const isPinned = ([name, value]: [string, string]) => {
      const { setting, source } = found.get(name) ?? {}
      const isKept = name in TRACKED_SETTINGS || name in LATER_SETTINGS
      return setting === value && (isKept || source === 'client' || source === 'session')
    }
    const known = Object.entries(settings).filter(([name]) => found.has(name))
    return Object.fromEntries(known.filter((setting) => !isPinned(setting)))
  } catch (error) {
    throw errorCode(error) === 'STANDBY' ? new Error(STANDBY, { cause: error }) : error
  } finally {
    await pool.close(0)
  }
}

/**
 * @param server its `server_version_num`, like 140011, and whether it is in recovery
 * @throws Error with one sentence when it is too old or takes no writes
 */
export function assertUsable(server: { version: number; standby: boolean }): void {
  const major = Math.floor(server.version / 10_000)
  if (!(major >= OLDEST_VERSION)) {
    throw new Error(`the server is PostgreSQL ${major}; Latchkey needs ${OLDEST_VERSION} or later`)
  }
  if (server.standby) throw new Error(STANDBY)
}
