import { type ReactNode, useState } from 'react'
import { useChange } from '../lib/change.ts'
import { texts } from '../texts.ts'
import { Dialog } from './dialog.tsx'
import { Field } from './field.tsx'
import { Form } from './form.tsx'

/** A button that asks before it does something, and says what it breaks. `word` has to be typed first. */
export function Confirm({
  button,
  title,
  word,
  isDangerous = true,
  isPlain = false,
  act,
  done,
  onDone,
  children,
}: {
  button: string
  title: string
  word?: string
  isDangerous?: boolean
  isPlain?: boolean
  act(fields: FormData): Promise<unknown>
  done?: string
  onDone?(): void
  children: ReactNode
}) {
  const [isOpen, setOpen] = useState(false)
  const [typed, setTyped] = useState('')
  const close = () => {
    setOpen(false)
    setTyped('')
    change.reset()
  }
  const change = useChange(act, {
    ...(done !== undefined && { done }),
    onDone: () => {
      close()
      onDone?.()
    },
  })
  const look = isPlain ? 'plain' : isDangerous ? 'danger' : undefined
  return (
    <>
      <button type="button" className={look} onClick={() => setOpen(true)}>
        {button}
      </button>
      {isOpen && (
        <Dialog title={title} onClose={close}>
          <Form
            button={button}
            isDangerous={isDangerous}
            isDisabled={word !== undefined && typed.trim() !== word.trim()}
            isPending={change.isPending}
            error={change.error}
            onSubmit={(fields) => change.mutate(fields)}
            onCancel={close}
          >
            {children}
            {word !== undefined && (
              <Field
                label={texts.actions.typeName(word)}
                name="word"
                autoComplete="off"
                value={typed}
                onChange={({ target }) => setTyped(target.value)}
              />
            )}
          </Form>
        </Dialog>
      )}
    </>
  )
}
