import { createContext, type ReactNode, useContext } from 'react'
import type { Refusal } from '../lib/refusal.ts'
import { texts } from '../texts.ts'
import { Problem } from './problem.tsx'

type FieldErrors = Refusal['fields']
const Errors = createContext<FieldErrors>([])

/** What the API says of a member of the body, which may be deeper than the field that it is typed into. */
export const useFieldError = (path: string | undefined): string | undefined =>
  useContext(Errors).find((error) => error.path === path || error.path.startsWith(`${path}/`))?.message

/** A form that sends what is typed. What the API refuses is shown at its field, and what is typed stays. */
export function Form({
  button,
  isDangerous = false,
  isDisabled = false,
  isPending,
  error,
  onSubmit,
  onCancel,
  children,
}: {
  button: string
  isDangerous?: boolean
  isDisabled?: boolean
  isPending: boolean
  error: Refusal | null
  onSubmit(fields: FormData, form: HTMLFormElement): void
  onCancel?(): void
  children?: ReactNode
}) {
  return (
    <Errors value={error?.fields ?? []}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          onSubmit(new FormData(event.currentTarget), event.currentTarget)
        }}
      >
        {children}
        {error && <Problem error={error} />}
        <div className="actions end">
          {onCancel && (
            <button type="button" className="plain" onClick={onCancel}>
              {texts.actions.cancel}
            </button>
          )}
          <button
            type="submit"
            className={isDangerous ? 'danger' : undefined}
            disabled={isPending || isDisabled}
          >
            {button}
          </button>
        </div>
      </form>
    </Errors>
  )
}

/** The text of a field; undefined where it is empty. */
export function textIn(fields: FormData, name: string): string | undefined {
  const value = fields.get(name)
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined
}

/** What a field has on each of its lines. */
export const linesIn = (fields: FormData, name: string): string[] => textIn(fields, name)?.split(/\s+/) ?? []
