import { formatNumber } from '../lib/format.ts'
import { texts } from '../texts.ts'

const WIDTH = 90
const HEIGHT = 24

/** The uses of the last thirty days in one word's room. */
export function Sparkline({ days }: { days: readonly number[] }) {
  const sum = days.reduce((total, day) => total + day, 0)
  if (sum === 0) return <span className="quiet">{texts.chart.none}</span>
  const max = Math.max(...days)
  const width = WIDTH / days.length
  return (
    <svg
      className="sparkline"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      role="img"
      aria-label={texts.chart.lastDays(formatNumber(sum), days.length)}
    >
      {days.map((day, at) => {
        const height = day === 0 ? 1 : Math.max(2, (day / max) * HEIGHT)
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: a day has no other name than its place
          <rect key={at} x={at * width} y={HEIGHT - height} width={width - 0.8} height={height} rx="0.6" />
        )
      })}
    </svg>
  )
}
