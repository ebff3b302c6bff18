import type { ReactNode } from 'react'
import { texts } from '../texts.ts'
import { Empty } from './empty.tsx'
import { Loaded } from './loaded.tsx'

type Pages<Row> = {
  data: readonly Row[] | undefined
  error: Error | null
  dataUpdatedAt: number
  isTruncated: boolean
  hasNextPage: boolean
  isFetchingNextPage: boolean
  fetchNextPage(): unknown
}

/** A list that is read page by page. */
export function List<Row>({
  of: pages,
  none = '',
  empty,
  children,
}: {
  of: Pages<Row>
  /** Said, or drawn, where the list is empty. */
  none?: string
  empty?: ReactNode
  children(rows: readonly Row[]): ReactNode
}) {
  return (
    <Loaded of={pages}>
      {(rows) => (
        <>
          {pages.isTruncated && <p className="quiet">{texts.refine}</p>}
          {rows.length === 0 ? (empty ?? <Empty title={none} />) : children(rows)}
          {pages.hasNextPage && (
            <button
              type="button"
              className="plain"
              disabled={pages.isFetchingNextPage}
              onClick={() => void pages.fetchNextPage()}
            >
              {texts.actions.more}
            </button>
          )}
        </>
      )}
    </Loaded>
  )
}
