import { type ReactNode, useState } from 'react'
import { useChange } from '../lib/api.ts'
import { texts } from '../texts.ts'
import { Dialog } from './dialog.tsx'
import { Form } from './form.tsx'

/** A button that opens the form of a thing in a dialog, and saves what is changed there. */
export function Edit({
  title,
  save,
  children,
}: {
  title: string
  save(fields: FormData): Promise<unknown>
  children: ReactNode
}) {
  const [isOpen, setOpen] = useState(false)
  const close = () => {
    setOpen(false)
    change.reset()
  }
  const change = useChange(save, { done: texts.key.changed, onDone: close })
  return (
    <>
      <button type="button" className="plain" onClick={() => setOpen(true)}>
        {texts.actions.edit}
      </button>
      {isOpen && (
        <Dialog title={title} onClose={close}>
          <Form
            button={texts.actions.save}
            isPending={change.isPending}
            error={change.error}
            onSubmit={(fields) => change.mutate(fields)}
            onCancel={close}
          >
            {children}
          </Form>
        </Dialog>
      )}
    </>
  )
}
