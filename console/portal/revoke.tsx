import { Confirm } from '../components/confirm.tsx'
import { LastDay, lastDay } from '../components/last-day.tsx'
import type { Key } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { ask, useAsk } from './api.ts'

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

/** Is asked for when the dialog opens. */
function Uses({ of: key }: { of: Key }) {
  const usage = useAsk(['keys', key.id, 'last-day'], (api) => api.keys({ id: key.id }).usage.get(lastDay()))
  return <LastDay of={key} usage={usage.data} />
}
