import { Confirm } from '../components/confirm.tsx'
import { nameOf } from '../components/key-cells.tsx'
import { formatNumber } from '../lib/format.ts'
import type { Key } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { ask, useAsk } from './api.ts'

const DAY_MS = 24 * 3_600_000

/** Ends a key for good. Says before what breaks, and asks for the key's name. */
export function Revoke({ of: key }: { of: Key }) {
  return (
    <Confirm
      button={texts.actions.revoke}
      isPlain
      title={texts.revoke.title}
      word={key.name ?? key.start}
      act={() => ask((api) => api.keys({ id: key.id }).delete())}
      done={texts.revoke.done}
    >
      <p>
        <Uses of={key} /> {texts.revoke.lead}
      </p>
    </Confirm>
  )
}

/** "Used 4,120 times in the last 24 hours." */
function Uses({ of: key }: { of: Key }) {
  const usage = useAsk(['keys', key.id, 'last-day'], (api) =>
    api.keys({ id: key.id }).usage.get({ query: { from: new Date(Date.now() - DAY_MS).toISOString() } }),
  ).data
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
