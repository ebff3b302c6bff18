import type { Overview } from '../lib/types.ts'

/** What an operator should look at, above everything else. */
export function Warnings({ of: warnings }: { of: Overview['warnings'] }) {
  return warnings.map(({ code, message }) => (
    <div key={code} className="warning" role="status">
      <p>
        {message} <code className="quiet">{code}</code>
      </p>
    </div>
  ))
}
