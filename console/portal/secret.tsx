import { useEffect, useState } from 'react'
import { Dialog } from '../components/dialog.tsx'
import { Command } from '../components/empty.tsx'
import { Check } from '../components/field.tsx'
import { texts } from '../texts.ts'

/** A new secret, this once. It stays until the person says that it is saved. */
export function Secret({ text, onDone }: { text: string; onDone(): void }) {
  const [isSaved, setSaved] = useState(false)
  const [isAsked, setAsked] = useState(false)
  useEffect(() => {
    if (isSaved) return
    const ask = (event: BeforeUnloadEvent) => event.preventDefault()
    addEventListener('beforeunload', ask)
    return () => removeEventListener('beforeunload', ask)
  }, [isSaved])
  return (
    <Dialog title={texts.portal.saveTitle} onClose={() => (isSaved ? onDone() : setAsked(true))}>
      <p>{texts.portal.saveLead}</p>
      <Command text={text} />
      <Check
        label={texts.portal.saved}
        checked={isSaved}
        onChange={({ target }) => setSaved(target.checked)}
      />
      {isAsked && !isSaved && (
        <p className="bad" role="alert">
          {texts.portal.saveFirst}
        </p>
      )}
      <div className="actions end">
        <button type="button" disabled={!isSaved} onClick={onDone}>
          {texts.portal.done}
        </button>
      </div>
    </Dialog>
  )
}
