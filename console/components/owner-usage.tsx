import { useAsk } from '../lib/api.ts'
import { texts } from '../texts.ts'
import { Chart, RANGES, startOf, useRange } from './chart.tsx'
import { Loaded } from './loaded.tsx'

/** The uses of all keys of an owner. */
export function OwnerUsage({ of: owner }: { of: { user_id: string } | { service_account_id: string } }) {
  const [range] = useRange()
  const usage = useAsk(['usage', owner, range], (api) =>
    api.usage.get({ query: { ...owner, from: startOf(range), bucket: RANGES[range].bucket } }),
  )
  return (
    <Loaded of={usage}>
      {({ buckets }) => (
        <Chart
          label={texts.key.usage}
          buckets={buckets.map(({ at, counts: { VALID: valid, ...others } }) => ({
            at,
            valid,
            refused: Object.values(others).reduce((sum, count) => sum + count, 0),
          }))}
        />
      )}
    </Loaded>
  )
}
