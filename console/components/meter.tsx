import { formatNumber } from '../lib/format.ts'

/** How much of something is left. */
export function Meter({
  label,
  value,
  max,
  hint,
}: {
  label: string
  value: number
  max: number
  hint?: string
}) {
  return (
    <div className="meter">
      <div>
        <span>{label}</span>
        <strong>
          {formatNumber(value)} <span className="quiet">/ {formatNumber(max)}</span>
        </strong>
      </div>
      <meter aria-label={label} min={0} max={max} low={max / 10} value={value} />
      {hint !== undefined && <small className="quiet">{hint}</small>}
    </div>
  )
}
