import { formatNumber } from '../lib/format.ts'
import type { Key } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { nameOf } from './key-cells.tsx'

const DAY_MS = 24 * 3_600_000

/** The query for the uses of a key in the last 24 hours. */
export const lastDay = () => ({ query: { from: new Date(Date.now() - DAY_MS).toISOString() } })

/** "Used 4,120 times in the last 24 hours." */
export function LastDay({
  of: key,
  usage,
}: {
  of: Key
  usage: { items: readonly { outcome: string; count: number }[] } | undefined
}) {
  if (usage === undefined) return null
  const count = usage.items
    .filter(({ outcome }) => outcome === 'VALID')
    .reduce((sum, item) => sum + item.count, 0)
  return (
    <strong>
      {count === 0 ? texts.revoke.unused(nameOf(key)) : texts.revoke.used(nameOf(key), formatNumber(count))}
    </strong>
  )
}
