import { useChange } from '../lib/api.ts'
import { texts } from '../texts.ts'
import { Confirm } from './confirm.tsx'

/** Disables what is enabled, after a question; enables what is disabled. */
export function Enabling({
  isActive,
  set,
  words,
}: {
  isActive: boolean
  set(isActive: boolean): Promise<unknown>
  words: { disableTitle: string; disableLead: string; disabled: string; enabled: string }
}) {
  const enable = useChange(() => set(true), { done: words.enabled })
  if (isActive)
    return (
      <Confirm
        button={texts.actions.disable}
        title={words.disableTitle}
        isPlain
        act={() => set(false)}
        done={words.disabled}
      >
        <p>{words.disableLead}</p>
      </Confirm>
    )
  return (
    <button type="button" className="plain" disabled={enable.isPending} onClick={() => enable.mutate()}>
      {texts.actions.enable}
    </button>
  )
}
