import { useEffect, useState } from 'react'
import { texts } from '../texts.ts'
import { Command } from './empty.tsx'
import { Check } from './field.tsx'
import { LeaveGuard } from './leave-guard.tsx'
import { Card, Page } from './page.tsx'

/** What is said of a secret, and of leaving it. */
type Words = Record<'title' | 'lead' | 'saved' | 'goOn' | 'askTitle' | 'askLead' | 'stay', string>

/** A page that shows a secret this once. Leaving asks whether it is saved. */
export function ShownOnce({
  words,
  parts,
  onDone,
  onAnother,
}: {
  words: Words
  /** Texts to copy, each with what it is. */
  parts: readonly (readonly [title: string, text: string])[]
  onDone(): void
  onAnother?(): void
}) {
  const [isSaved, setSaved] = useState(false)
  useEffect(() => {
    scrollTo(0, 0)
  }, [])
  return (
    <Page title={words.title}>
      <Card>
        <p>{words.lead}</p>
        {parts.map(([title, text]) => (
          <section key={title}>
            <h2>{title}</h2>
            <Command text={text} />
          </section>
        ))}
        <Check label={words.saved} checked={isSaved} onChange={({ target }) => setSaved(target.checked)} />
        <div className="actions">
          <button type="button" disabled={!isSaved} onClick={onDone}>
            {words.goOn}
          </button>
          {onAnother && (
            <button type="button" className="plain" disabled={!isSaved} onClick={onAnother}>
              {texts.secret.another}
            </button>
          )}
        </div>
      </Card>
      {!isSaved && <LeaveGuard words={words} />}
    </Page>
  )
}
