import { formatAgo, formatLocal, formatUtc } from '../lib/format.ts'

/** How long ago, or until when; the exact time where the pointer rests. */
export function Time({ at, none, isExact = false }: { at: string | null; none?: string; isExact?: boolean }) {
  if (at === null) return <span className="quiet">{none}</span>
  return (
    <time dateTime={at} title={isExact ? formatUtc(at) : `${formatLocal(at)} · ${formatUtc(at)}`}>
      {isExact ? formatLocal(at) : formatAgo(at)}
    </time>
  )
}
