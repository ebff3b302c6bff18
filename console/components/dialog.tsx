import { type ReactNode, useEffect, useId, useRef } from 'react'
import { texts } from '../texts.ts'

/** A dialog over the page; on a phone a sheet. It is open as long as it is drawn. */
export function Dialog({
  title,
  onClose,
  children,
}: {
  title: string
  onClose(): void
  children: ReactNode
}) {
  const dialog = useRef<HTMLDialogElement>(null)
  const heading = useId()
  useEffect(() => {
    const opener = document.activeElement
    dialog.current?.showModal()
    return () => {
      if (opener instanceof HTMLElement) opener.focus()
    }
  }, [])
  return (
    <dialog
      ref={dialog}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
    >
      <div className="dialog-head">
        <h2 id={heading}>{title}</h2>
        <button type="button" className="plain icon" aria-label={texts.actions.close} onClick={onClose}>
          ×
        </button>
      </div>
      {children}
    </dialog>
  )
}
