import { withDeadline } from '../../lib/deadline.ts'
import { fail, spentHeaders } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import { MINUTE_MS } from '../../lib/time.ts'
import type { Origin } from '../audit/audit.ts'
import { recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { type AdminPrincipal, isAdmin, type Principal } from '../principal.ts'
import { deleteExport, insertExport, updateExportEnd } from './queries.ts'

/** Rows of one export. */
const MAX_EXPORTED_ROWS = 100_000
/** An export whose server writes no page for so long counts as over: the server is gone. */
const EXPORT_LASTS_MS = MINUTE_MS
const RETRY_AFTER_SECONDS = 10

/** A page of rows, and the function that reads the next one; null after the last one. */
export type ExportPage<Row> = { rows: readonly Row[]; next: (() => Promise<ExportPage<Row>>) | null }

/** What is written out, for the audit trail. */
type Exported = { list: 'keys' | 'audit'; filter: Record<string, unknown> }

/**
 * The admin who asks for an export.
 * @throws Problem forbidden for anybody else
 */
export function requireExporter(caller: Principal): AdminPrincipal {
  return isAdmin(caller)
    ? caller
    : fail('forbidden', { detail: 'Only an admin has lists written out as CSV.' })
}

/**
 * Begins an export of an admin, who has one at a time on all servers together, and gives its rows in pages: the first one,
 * which is read already, and those after it, up to MAX_EXPORTED_ROWS. It stops where the admin's rights or session end.
 * The generator must be run to its end or returned from, since only then may the admin begin the next export.
 * @throws Problem rate_limited while another export of the admin is under way
 */
export async function beginExport<Row>(
  context: Context,
  origin: Origin,
  admin: AdminPrincipal,
  { list, filter }: Exported,
  first: ExportPage<Row>,
): Promise<AsyncGenerator<readonly Row[]>> {
  const id = newId()
  await recordChange(context, origin, admin, [], async ({ tx, now, record }) => {
    const row = { id, adminId: admin.userId, expiresAt: new Date(now.getTime() + EXPORT_LASTS_MS) }
    if (!(await insertExport(tx, row, now)))
      fail('rate_limited', {
        detail: 'An export of yours is under way: wait until it is done.',
        headers: spentHeaders(1, RETRY_AFTER_SECONDS),
      })
    await record({ action: 'export.created', details: { list, filter } })
  })
  return listPages(context, admin, id, first)
}

async function* listPages<Row>(
  { db, clock }: Context,
  { userId, sessionId }: AdminPrincipal,
  id: string,
  first: ExportPage<Row>,
): AsyncGenerator<readonly Row[]> {
  try {
    let page = first
    for (let left = MAX_EXPORTED_ROWS; ; ) {
      yield page.rows.slice(0, left)
      left -= page.rows.length
      const { next } = page
      if (next === null || left <= 0) return
      const end = new Date(clock() + EXPORT_LASTS_MS)
      const running = { id, adminId: userId, sessionId }
      // The request that began the export is over, and each page has a deadline of its own.
      if (!(await withDeadline(() => updateExportEnd(db, running, end))))
        throw new Error('the rights of the admin who asked for the export have ended')
      page = await withDeadline(next)
    }
  } finally {
    await withDeadline(() => deleteExport(db, id))
  }
}
