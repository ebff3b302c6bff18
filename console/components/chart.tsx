import { useEffect, useRef, useState } from 'react'
import uPlot from 'uplot'
import { formatLocal, formatNumber, formatShort, formatTick, formatUtcDay } from '../lib/format.ts'
import { useParam } from '../lib/params.ts'
import { theme } from '../lib/theme.ts'
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
        <Bars buckets={buckets} isByDay={RANGES[range].bucket === 'day'} />
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

const HEIGHT = 200
const MIN_MAX = 4

/** Drawn on a canvas, which knows no custom properties: the colours are read from elements that have them. */
function Bars({ buckets, isByDay }: { buckets: readonly Bucket[]; isByDay: boolean }) {
  const place = useRef<HTMLDivElement>(null)
  const look = theme.use()
  // biome-ignore lint/correctness/useExhaustiveDependencies: drawn again in the colours of another theme
  useEffect(() => {
    const element = place.current
    if (!element) return
    const colorOf = (name: string) => {
      const probe = document.createElement('i')
      probe.className = `color-${name}`
      element.append(probe)
      const { color } = getComputedStyle(probe)
      probe.remove()
      return color
    }
    // The first and the last bar have their whole width.
    const half = isByDay ? (HOUR_MS / 1000) * 12 : HOUR_MS / 2000
    const bars = uPlot.paths.bars?.({ size: [0.7, 40], radius: 0.15 })
    const quiet = colorOf('quiet')
    const axis = { stroke: quiet, grid: { stroke: colorOf('border'), width: 1 }, ticks: { show: false } }
    const series = (name: string) => ({
      fill: colorOf(name),
      width: 0,
      points: { show: false },
      ...(bars && { paths: bars }),
    })
    const plot = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { range: (_, min, max) => [min - half, max + half] },
          y: { range: (_, __, max) => [0, Math.max(MIN_MAX, max * 1.1)] },
        },
        axes: [
          {
            ...axis,
            grid: { show: false },
            size: 28,
            values: (_, times) => times.map((time) => formatTick(time * 1000, isByDay)),
          },
          {
            ...axis,
            size: 44,
            values: (_, values) => values.map((value) => (value % 1 ? '' : formatShort(value))),
          },
        ],
        series: [{}, series('bad'), series('accent')],
        // Days begin at midnight in UTC, hours are the person's own.
        ...(isByDay && { tzDate: (seconds: number) => uPlot.tzDate(new Date(seconds * 1000), 'UTC') }),
      },
      [
        buckets.map(({ at }) => Date.parse(at) / 1000),
        buckets.map(({ valid, refused }) => valid + refused),
        buckets.map(({ valid }) => valid),
      ],
      element,
    )
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }))
    observer.observe(element)
    return () => {
      observer.disconnect()
      plot.destroy()
    }
  }, [buckets, isByDay, look])
  return <div ref={place} className="plot" aria-hidden="true" />
}
