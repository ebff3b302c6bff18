import { ask, useAsk } from '../lib/api.ts'
import type { Key } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Confirm } from './confirm.tsx'
import { Field } from './field.tsx'
import { textIn } from './form.tsx'
import { LastDay, lastDay } from './last-day.tsx'

/** Ends a key for good. Says before what breaks, and asks for the key's name. */
export function RevokeKey({ of: key }: { of: Key }) {
  return (
    <Confirm
      button={texts.actions.revoke}
      title={texts.revoke.title}
      word={key.name ?? key.start}
      act={(fields) => {
        const reason = textIn(fields, 'reason')
        const query = reason === undefined ? {} : { reason }
        return ask((api) => api.keys({ id: key.id }).delete(undefined, { query }))
      }}
      done={texts.revoke.done}
    >
      <p>
        <Uses of={key} /> {texts.revoke.lead}
      </p>
      <Field label={texts.revoke.reason} name="reason" path="?reason" maxLength={500} autoComplete="off" />
    </Confirm>
  )
}

/** Is asked for when the dialog opens. */
function Uses({ of: key }: { of: Key }) {
  const usage = useAsk(['keys', key.id, 'last-day'], (api) => api.keys({ id: key.id }).usage.get(lastDay()))
  return <LastDay of={key} usage={usage.data} />
}
