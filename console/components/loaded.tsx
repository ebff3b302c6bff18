import type { UseQueryResult } from '@tanstack/react-query'
import type { ReactNode } from 'react'
import { formatAgo } from '../lib/format.ts'
import { asRefusal } from '../lib/refusal.ts'
import { texts } from '../texts.ts'
import { Problem } from './problem.tsx'

/** What a page has read. Where reading it again fails, what was read before stays, with its age. */
export function Loaded<Data>({
  of: { data, error, dataUpdatedAt },
  children,
}: {
  of: Pick<UseQueryResult<Data>, 'data' | 'error' | 'dataUpdatedAt'>
  children(data: Data): ReactNode
}) {
  const refusal = error && asRefusal(error)
  const isShown = refusal && refusal.code !== 'idle'
  if (data === undefined)
    return isShown ? <Problem error={refusal} /> : <p className="quiet">{texts.loading}</p>
  const age = formatAgo(new Date(dataUpdatedAt).toISOString())
  return (
    <>
      {isShown && <Problem error={refusal} more={texts.errors.stale(age)} />}
      {children(data)}
    </>
  )
}
