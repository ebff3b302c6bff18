import type { Database } from '../../db/database.ts'
import { SECOND_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { isAuthorizationServer } from '../oauth/authorization-server.ts'
import { identifierOf, OWN_SLUG } from '../resources/audience.ts'
import { ownResource } from '../resources/own.ts'
import { findResource } from './queries.ts'

/** What a service that protects a resource has to know of it. */
export type ProtectedResource = {
  identifier: string
  slug: string
  name: string
  scopes: readonly string[]
}

/** No longer than a revocation may take to arrive. */
const LASTS_MS = SECOND_MS
/** Names come from policies and from anonymous requests for metadata. */
const MAX_REMEMBERED = 1000

type Found = ProtectedResource | null
type Remembered = { found: Found | Promise<Found>; askedAtMs: number }

const remembered = new WeakMap<Database, Map<string, Remembered>>()

/**
 * A resource by its slug, or by its identifier; also one that is disabled: its tokens are refused wherever they are verified.
 * What was found is used for a second, so that a proxy that asks often waits for nothing.
 * @returns null for an unknown one; a promise only where the database has to be asked
 */
export function findProtectedResource(context: Context, name: string): Found | Promise<Found> {
  const { db, config } = context
  const nowMs = performance.now()
  const before = remembered.get(db)?.get(name)
  if (before && nowMs - before.askedAtMs < LASTS_MS) return before.found
  // Without published keys there is no authorization server.
  if (!isAuthorizationServer(config)) return null
  if (name === OWN_SLUG || name === identifierOf(config, { audience: 'latchkey', resource: null })) {
    const own = ownResource(config)
    return { ...own, scopes: own.scopes.map((scope) => scope.name) }
  }
  const known = remembered.get(db) ?? new Map<string, Remembered>()
  remembered.set(db, known)
  const asking = ask(db, name)
  remember(known, name, { found: asking, askedAtMs: nowMs })
  return asking.then(
    (found) => {
      if (known.get(name)?.found === asking) remember(known, name, { found, askedAtMs: nowMs })
      return found
    },
    (error: unknown) => {
      if (known.get(name)?.found === asking) known.delete(name)
      throw error
    },
  )
}

async function ask(db: Database, name: string): Promise<Found> {
  const row = await findResource(db, name)
  return row && { ...row, scopes: row.scopes.map((scope) => scope.name) }
}

function remember(known: Map<string, Remembered>, name: string, entry: Remembered): void {
  known.delete(name)
  const [oldest] = known.keys()
  if (known.size >= MAX_REMEMBERED && oldest !== undefined) known.delete(oldest)
  known.set(name, entry)
}
