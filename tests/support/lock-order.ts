import { AsyncLocalStorage } from 'node:async_hooks'
import type { Logger } from 'drizzle-orm/logger'
import type { Database } from '../../src/db/database.ts'

/** A statement as it was sent to PostgreSQL. */
export type Statement = {
  text: string
  params: readonly unknown[]
  /** The number of its transaction. null: it runs outside of one. */
  transaction: number | null
}

/**
 * The order in which a transaction locks tables (docs/decisions/0026). Every other table comes after these.
 */
const ORDER = [
  'advisory',
  'users',
  'service_accounts',
  'oauth_clients',
  'resources',
  'oauth_grants',
  'sessions',
  'api_keys',
  'api_key_secrets',
  'signing_keys',
  'account_managers',
]
const rankOf = (table: string) => (ORDER.includes(table) ? ORDER.indexOf(table) : ORDER.length)

/** From weak to strong. An UPDATE takes the second mode, a DELETE the third. */
const MODES = ['share', 'no key update', 'update']

type TakenLock = { table: string; mode: number }

/** The lock that a statement takes, or null. An INSERT locks only its new row. */
export function lockOf(text: string): TakenLock | null {
  if (/pg_(try_)?advisory_xact_lock/.test(text)) return { table: 'advisory', mode: 0 }
  const [, verb, changed] = /\b(update|delete from) "latchkey"\."(\w+)"/i.exec(text) ?? []
  if (verb && changed) return { table: changed, mode: verb.toLowerCase() === 'update' ? 1 : MODES.length - 1 }
  const mode = /\bfor (no key update|update|share)\b/i.exec(text)?.[1]?.toLowerCase()
  const locked = /\bfrom "latchkey"\."(\w+)"/i.exec(text)?.[1]
  return mode && locked ? { table: locked, mode: MODES.indexOf(mode) } : null
}

const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g
const idsOf = ({ params }: Pick<Statement, 'params'>): string[] => JSON.stringify(params).match(UUID) ?? []

/**
 * Finds a fault in the locks of a transaction: a table that is first locked after a later one in the order,
 * or a row that is locked again in a stronger mode.
 * @returns the fault, or null
 */
export function findLockFault(statements: readonly Pick<Statement, 'text' | 'params'>[]): string | null {
  const locked: string[] = []
  const rows = new Map<string, number>()
  for (const statement of statements) {
    const lock = lockOf(statement.text)
    if (!lock) continue
    const { table, mode } = lock
    const later = locked.find((other) => rankOf(other) > rankOf(table))
    if (!locked.includes(table) && later !== undefined) return `${table} is locked after ${later}`
    locked.push(table)
    for (const id of idsOf(statement)) {
      const row = `${table} ${id}`
      const held = rows.get(row)
      if (held !== undefined && held < mode)
        return `${row}: the lock is raised from ${MODES[held]} to ${MODES[mode]}`
      rows.set(row, mode)
    }
  }
  return null
}

/** Records the locks of a service's transactions. */
export type LockWatch = {
  /** The logger for `openDatabase`. */
  logger: Logger
  /** Tells the statements of this database's transactions apart. */
  watch(db: Database): void
  /** The faults of all transactions that have ended. */
  faults: string[]
  /** Records the statements of `work`, which receives them as they are sent. */
  record(work: (statements: readonly Statement[]) => Promise<unknown>): Promise<Statement[]>
}

/** Watches the order in which the transactions of one service take locks. */
export function watchLocks(): LockWatch {
  const running = new AsyncLocalStorage<{ number: number; statements: Statement[] }>()
  const faults: string[] = []
  let transactions = 0
  let kept: Statement[] | null = null

  const logger: Logger = {
    logQuery(text, params) {
      const transaction = running.getStore()
      const statement = { text, params, transaction: transaction?.number ?? null }
      transaction?.statements.push(statement)
      kept?.push(statement)
    },
  }
  const watch = (db: Database) => {
    const begin = db.transaction.bind(db)
    db.transaction = (work, config) => {
      const transaction = { number: ++transactions, statements: [] as Statement[] }
      return begin((tx) => running.run(transaction, () => work(tx)), config).finally(() => {
        const fault = findLockFault(transaction.statements)
        if (fault !== null)
          faults.push([fault, ...transaction.statements.map(({ text }) => text)].join('\n  '))
      })
    }
  }
  const record: LockWatch['record'] = async (work) => {
    const statements: Statement[] = []
    kept = statements
    try {
      await work(statements)
    } finally {
      kept = null
    }
    return statements
  }
  return { logger, watch, faults, record }
}
