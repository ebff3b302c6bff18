import type { Context } from '../core/context.ts'
import { beginExport, type ExportPage, requireExporter } from '../core/exports/exports.ts'
import type { Principal } from '../core/principal.ts'
import { csvLine } from '../lib/csv.ts'
import { weightsOf } from './compression.ts'
import { originOf, type RequestState } from './request-state.ts'

const CSV = 'text/csv'

/** What the document says of a list that can be written out. */
export const CSV_DESCRIPTION =
  'With `Accept: text/csv` an admin gets up to 100,000 rows as CSV, one export at a time; a cell that begins with = + - @ has an apostrophe in front.'

/** Whether a client asks for CSV, and does not like JSON better. */
export function wantsCsv({ headers }: Request): boolean {
  const accepted = headers.get('accept')
  if (!accepted?.toLowerCase().includes(CSV)) return false
  const weights = weightsOf(accepted)
  const weight = weights.get(CSV) ?? 0
  return weight > 0 && weight >= (weights.get('application/json') ?? 0)
}

/** A list that can be written out as CSV. */
type CsvList<Row> = {
  list: 'keys' | 'audit'
  /** The parameters of the request, for the audit trail. */
  query: Readonly<Record<string, unknown>>
  columns: readonly string[]
  /** Reads the first page. */
  read(): Promise<ExportPage<Row>>
}

/**
 * Answers with the rows of a list as CSV, page by page as the client reads them. Where a page cannot be read, the answer
 * breaks off, so that no client takes it for whole.
 * @throws Problem forbidden for anybody but an admin, rate_limited while another export of theirs is under way, and what
 * `read` throws
 */
export async function csvAnswer<Row extends object>(
  context: Context,
  state: RequestState,
  caller: Principal,
  { list, query, columns, read }: CsvList<Row>,
): Promise<Response> {
  const admin = requireExporter(caller)
  const first = await read()
  const headers = {
    'content-type': `${CSV}; charset=utf-8`,
    'content-disposition': `attachment; filename="${list}.csv"`,
    vary: 'Accept',
  }
  if (state.request.method === 'HEAD') return new Response(null, { headers })
  const filter = filterOf(query)
  const pages = await beginExport(context, originOf(state), admin, { list, filter }, first)
  return new Response(streamOf(context, pages, columns), { headers })
}

/** The filter without the text of a search, which may be a secret that somebody pasted. */
function filterOf({ query, limit: _, cursor: __, ...filter }: Readonly<Record<string, unknown>>) {
  return { ...filter, ...(query !== undefined && { searched: true }) }
}

function streamOf<Row extends object>(
  { log }: Pick<Context, 'log'>,
  pages: AsyncGenerator<readonly Row[]>,
  columns: readonly string[],
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  const lineOf = (row: Row) => {
    const members = new Map<string, unknown>(Object.entries(row))
    return csvLine(columns.map((column) => members.get(column)))
  }
  let head = csvLine(columns)
  return new ReadableStream({
    async pull(controller) {
      try {
        const { value, done } = await pages.next()
        if (done) return controller.close()
        controller.enqueue(encoder.encode(head + value.map(lineOf).join('')))
        head = ''
      } catch (error) {
        log.warn({ err: error }, 'An export broke off')
        controller.error(error)
      }
    },
    cancel: () => pages.return(undefined).then(() => {}),
  })
}
