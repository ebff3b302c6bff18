import { useAsk } from '../lib/api.ts'
import type { Overview } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { type Bucket, Chart, RANGES, type Range, startOf, useRange } from './chart.tsx'
import { Loaded } from './loaded.tsx'

type Owner = { user_id?: string } | { service_account_id?: string }

/** Counts by outcome, as a chart draws them. */
export const asBuckets = (buckets: Overview['last_24_hours']['buckets']): Bucket[] =>
  buckets.map(({ at, counts: { VALID: valid, ...others } }) => ({
    at,
    valid,
    refused: Object.values(others).reduce((sum, count) => sum + count, 0),
  }))

/** The uses of all keys of an owner; without an owner, of all keys. */
export function OwnerUsage({ of: owner, fallback }: { of: Owner; fallback?: Range }) {
  const [range] = useRange(fallback)
  const usage = useAsk(['usage', owner, range], (api) =>
    api.usage.get({ query: { ...owner, from: startOf(range), bucket: RANGES[range].bucket } }),
  )
  return (
    <Loaded of={usage}>
      {({ buckets }) => (
        <Chart
          label={texts.key.usage}
          buckets={asBuckets(buckets)}
          {...(fallback !== undefined && { fallback })}
        />
      )}
    </Loaded>
  )
}
