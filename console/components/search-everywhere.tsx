import { useMutation } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { useLocation } from 'wouter'
import { type Found, find } from '../lib/find.ts'
import { useMe } from '../lib/me.ts'
import { asRefusal, type Refusal } from '../lib/refusal.ts'
import { texts } from '../texts.ts'
import { Dialog } from './dialog.tsx'
import { Field } from './field.tsx'
import { Form, textIn } from './form.tsx'
import { KeyTable } from './key-table.tsx'

const { find: words } = texts
const TYPED_INTO = 'input, textarea, select, dialog'

/** Takes whatever somebody has in hand, and leads to it. Opens by a button, by "/" and by Ctrl-K. */
export function SearchEverywhere() {
  const [isOpen, setOpen] = useState(false)
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const isTyping = event.target instanceof Element && event.target.closest(TYPED_INTO) !== null
      const isSlash = event.key === '/' && !isTyping
      const isControlK = event.key === 'k' && (event.ctrlKey || event.metaKey)
      if (!isSlash && !isControlK) return
      event.preventDefault()
      setOpen(true)
    }
    addEventListener('keydown', onKey)
    return () => removeEventListener('keydown', onKey)
  }, [])
  return (
    <>
      <button
        type="button"
        className="plain search"
        aria-keyshortcuts="/ Control+K"
        onClick={() => setOpen(true)}
      >
        {words.title} <kbd>/</kbd>
      </button>
      {isOpen && (
        <Dialog title={words.title} onClose={() => setOpen(false)}>
          <Search onDone={() => setOpen(false)} />
        </Dialog>
      )}
    </>
  )
}

function Search({ onDone }: { onDone(): void }) {
  const me = useMe()
  const [, navigate] = useLocation()
  // What is typed may be a key, and becomes no part of a state: only what it leads to does.
  const search = useMutation<Found, Refusal, () => Promise<Found>>({
    gcTime: 0,
    mutationFn: (run) =>
      run().catch((error: unknown) => {
        throw asRefusal(error)
      }),
    onSuccess: (found) => {
      if (!('place' in found)) return
      navigate(found.place)
      onDone()
    },
  })
  const found = search.data
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: a key that was found is a link, which closes the dialog too
    // biome-ignore lint/a11y/useKeyWithClickEvents: Enter clicks a link
    <div onClick={({ target }) => target instanceof HTMLAnchorElement && onDone()}>
      <Form
        button={words.go}
        isPending={search.isPending}
        error={search.error}
        onSubmit={(fields, form) => {
          const text = textIn(fields, 'text')
          form.reset()
          if (text !== undefined) search.mutate(() => find(text, me))
        }}
      >
        <Field
          label={texts.actions.search}
          hint={words.hint}
          name="text"
          type="search"
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          autoFocus
        />
      </Form>
      {found && 'keys' in found && (
        <>
          <p role="status">{words.several}</p>
          <KeyTable
            label={words.several}
            keys={found.keys}
            owner={(key) => key.owner?.label}
            actions={{
              head: words.secret,
              cell: (key) => words.states[found.keys.find(({ id }) => id === key.id)?.matched.state ?? ''],
            }}
          />
        </>
      )}
    </div>
  )
}
