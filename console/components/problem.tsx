import type { Refusal } from '../lib/refusal.ts'
import { texts } from '../texts.ts'
import { Copy } from './copy.tsx'

/** What the API answered in place of what was asked for, as it said it, with the request id to copy. */
export function Problem({ error, more }: { error: Refusal; more?: string }) {
  return (
    <div className="problem" role="alert">
      <p>
        {error.detail} {more}
      </p>
      {error.requestId !== null && (
        <p className="quiet">
          {texts.errors.requestId} <code>{error.requestId}</code>{' '}
          <Copy text={error.requestId} label={texts.errors.copyRequestId} />
        </p>
      )}
    </div>
  )
}
