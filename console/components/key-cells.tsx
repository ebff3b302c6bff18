import type { Key } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Time } from './time.tsx'

const SOON_MS = 14 * 24 * 3_600_000

/** What a key is called: its name, or its beginning where it has none. */
export const nameOf = (key: Pick<Key, 'name' | 'start'>): string => key.name ?? `${key.start}…`

/** The end of a key, in amber where it is near. */
export function Expiry({ at }: { at: string | null }) {
  const isSoon = at !== null && Date.parse(at) > Date.now() && Date.parse(at) - Date.now() < SOON_MS
  return (
    <span className={isSoon ? 'soon' : undefined}>
      <Time at={at} none={texts.keys.noExpiry} />
    </span>
  )
}

/** Scopes, as words beside each other. */
export function Scopes({ scopes }: { scopes: readonly string[] }) {
  if (scopes.length === 0) return <span className="quiet">{texts.keys.noScopes}</span>
  return (
    <span className="scopes">
      {scopes.map((scope) => (
        <code key={scope}>{scope}</code>
      ))}
    </span>
  )
}
