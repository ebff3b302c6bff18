import type { ReactNode } from 'react'
import { Link, useLocation, useSearchParams } from 'wouter'
import { texts } from '../texts.ts'
import { Empty } from './empty.tsx'
import { Loaded } from './loaded.tsx'

type Pages<Row> = {
  data: readonly Row[] | undefined
  error: Error | null
  dataUpdatedAt: number
  isTruncated: boolean
  /** Where the page in the URL begins; missing for a list that grows in place. */
  first?: string | undefined
  next?: string | null
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
          {pages.first !== undefined && <Pager first={pages.first} next={pages.next ?? null} />}
          {pages.first === undefined && pages.hasNextPage && (
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

/** Leads on within a list by real links: each page has an address, and "back" leads to the one before. */
function Pager({ first, next }: { first: string; next: string | null }) {
  const [location] = useLocation()
  const [params] = useSearchParams()
  const placeOf = (cursor: string) => {
    const to = new URLSearchParams(params)
    if (cursor === '') to.delete('cursor')
    else to.set('cursor', cursor)
    return `${location}?${to}`
  }
  if (first === '' && next === null) return null
  const toTop = () => scrollTo(0, 0)
  return (
    <nav className="actions pager" aria-label={texts.pager.label}>
      {first !== '' && (
        <Link href={placeOf('')} className="button plain" onClick={toTop}>
          {texts.pager.first}
        </Link>
      )}
      {next !== null && (
        <Link href={placeOf(next)} className="button plain" onClick={toTop}>
          {texts.pager.next}
        </Link>
      )}
    </nav>
  )
}
