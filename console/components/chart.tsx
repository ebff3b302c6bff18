import { useState } from 'react'
import { formatLocal, formatNumber, formatShort, formatTick, formatUtcDay } from '../lib/format.ts'
import { useParam } from '../lib/params.ts'
import { texts } from '../texts.ts'
import { Table } from './table.tsx'

/** Uses in one hour or day. */
export type Bucket = { at: string; valid: number; refused: number }

const HOUR_MS = 3_600_000
/** The ranges of every chart: how far back, and in which steps. */
export const RANGES = {
  '24h': { hours: 24, bucket: 'hour' },
  '7d': { hours: 7 * 24, bucket: 'hour' },
  '30d': { hours: 30 * 24, bucket: 'day' },
  '90d': { hours: 90 * 24, bucket: 'day' },
} as const
export type Range = keyof typeof RANGES

/** The range that the URL names. */
export function useRange(fallback: Range = '7d'): [range: Range, set: (range: string) => void] {
  const [name, setName] = useParam('range')
  return [Object.hasOwn(RANGES, name) ? (name as Range) : fallback, setName]
}

/** The beginning of a range, on an hour or a day (UTC), as buckets are. */
export function startOf(range: Range): string {
  const { hours, bucket } = RANGES[range]
  const step = bucket === 'hour' ? HOUR_MS : 24 * HOUR_MS
  const first = Math.floor(Date.now() / step) * step - (hours * HOUR_MS - step)
  return new Date(first).toISOString()
}

/** Counts by time and outcome, as buckets without a gap. */
export function bucketsOf(
  range: Range,
  items: readonly { at: string; outcome: string; count: number }[],
): Bucket[] {
  const { hours, bucket } = RANGES[range]
  const step = bucket === 'hour' ? HOUR_MS : 24 * HOUR_MS
  const first = Date.parse(startOf(range))
  const buckets = Array.from({ length: (hours * HOUR_MS) / step }, (_, at) => ({
    at: new Date(first + at * step).toISOString(),
    valid: 0,
    refused: 0,
  }))
  for (const { at, outcome, count } of items) {
    const found = buckets[Math.floor((Date.parse(at) - first) / step)]
    if (found) found[outcome === 'VALID' ? 'valid' : 'refused'] += count
  }
  return buckets
}

/** How often something was used: bars, refused above allowed, or the same as a table. */
export function Chart({
  label,
  buckets,
  fallback,
}: {
  label: string
  buckets: readonly Bucket[]
  /** The range where the URL names none. */
  fallback?: Range
}) {
  const [range, setRange] = useRange(fallback)
  const [isTable, setTable] = useState(false)
  const valid = buckets.reduce((sum, bucket) => sum + bucket.valid, 0)
  const refused = buckets.reduce((sum, bucket) => sum + bucket.refused, 0)
  return (
    <figure className="chart" aria-label={label}>
      <div className="chart-head">
        <fieldset className="ranges">
          <legend className="hidden">{texts.chart.range}</legend>
          {Object.keys(RANGES).map((name) => (
            <button key={name} type="button" aria-pressed={name === range} onClick={() => setRange(name)}>
              {texts.chart.ranges[name as Range]}
            </button>
          ))}
        </fieldset>
        <button type="button" className="plain small" onClick={() => setTable(!isTable)}>
          {isTable ? texts.chart.showChart : texts.chart.showTable}
        </button>
      </div>
      <figcaption>
        <span className="legend valid">
          {texts.chart.valid} <strong>{formatNumber(valid)}</strong>
        </span>
        <span className="legend refused">
          {texts.chart.refused} <strong>{formatNumber(refused)}</strong>
        </span>
      </figcaption>
      {valid + refused === 0 ? (
        <p className="quiet nothing">{texts.chart.unused}</p>
      ) : isTable ? (
        <BucketTable label={label} buckets={buckets} isByDay={RANGES[range].bucket === 'day'} />
      ) : (
        <Bars buckets={buckets} range={range} />
      )}
    </figure>
  )
}

function BucketTable({
  label,
  buckets,
  isByDay,
}: {
  label: string
  buckets: readonly Bucket[]
  isByDay: boolean
}) {
  return (
    <Table
      label={label}
      idOf={({ at }) => at}
      rows={buckets.filter(({ valid, refused }) => valid + refused > 0).toReversed()}
      columns={[
        { head: texts.chart.from, cell: ({ at }) => (isByDay ? formatUtcDay(at) : formatLocal(at)) },
        { head: texts.chart.valid, cell: (bucket) => formatNumber(bucket.valid), isNumber: true },
        { head: texts.chart.refused, cell: (bucket) => formatNumber(bucket.refused), isNumber: true },
      ]}
    />
  )
}

/** The top of a chart is a round number, and so is its middle. */
const ROUND = [1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10]
const MIN_TOP = 4

function topOf(buckets: readonly Bucket[]): number {
  const max = Math.max(MIN_TOP, ...buckets.map(({ valid, refused }) => valid + refused))
  const unit = 10 ** Math.floor(Math.log10(max))
  const tops = ROUND.map((round) => round * unit)
  return tops.find((top) => top >= max && top % 2 === 0) ?? unit * 10
}

/** The marks below a chart: midnights, every fourth hour of a day, or every so many days. */
function isMark(at: string, index: number, range: Range): boolean {
  const hour = new Date(at).getHours()
  if (range === '24h') return hour % 4 === 0
  return range === '7d' ? hour === 0 : index % (range === '30d' ? 5 : 14) === 0
}

const HEIGHT = 100

/** Bars that are as wide as the page allows. Each says when and how much, where the pointer rests. */
function Bars({ buckets, range }: { buckets: readonly Bucket[]; range: Range }) {
  const isByDay = RANGES[range].bucket === 'day'
  const top = topOf(buckets)
  const heightOf = (count: number) => (count / top) * HEIGHT
  return (
    <div className="plot" aria-hidden="true">
      <div className="plot-y">
        {[top, top / 2, 0].map((count) => (
          <span key={count}>{formatShort(count)}</span>
        ))}
      </div>
      {/* biome-ignore lint/a11y/noSvgWithoutTitle: hidden from screen readers, which have the table */}
      <svg viewBox={`0 0 ${buckets.length} ${HEIGHT}`} preserveAspectRatio="none">
        <path d={`M0 0H${buckets.length}M0 ${HEIGHT / 2}H${buckets.length}M0 ${HEIGHT}H${buckets.length}`} />
        {buckets.map(({ at, valid, refused }, index) => (
          <g key={at}>
            <title>
              {`${isByDay ? formatUtcDay(at) : formatLocal(at)}: ${texts.chart.valid} ${formatNumber(valid)}, ${texts.chart.refused} ${formatNumber(refused)}`}
            </title>
            <rect className="room" x={index} width={1} height={HEIGHT} />
            <rect
              className="refused"
              x={index + 0.14}
              y={HEIGHT - heightOf(valid + refused)}
              width={0.72}
              height={heightOf(refused)}
            />
            <rect
              className="valid"
              x={index + 0.14}
              y={HEIGHT - heightOf(valid)}
              width={0.72}
              height={heightOf(valid)}
            />
          </g>
        ))}
      </svg>
      <div className="plot-x">
        {buckets.map(({ at }, index) =>
          isMark(at, index, range) ? (
            <span key={at} style={{ left: `${((index + 0.5) / buckets.length) * 100}%` }}>
              {formatTick(Date.parse(at), isByDay)}
            </span>
          ) : null,
        )}
      </div>
    </div>
  )
}
