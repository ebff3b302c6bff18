import { type ComponentProps, type ReactNode, useId } from 'react'
import { useFieldError } from './form.tsx'

type Common = { label: string; hint?: ReactNode; path?: string }

/** A field of a form, with what the API says of it. `path` is where the API names it, like `/name`. */
export function Field({ label, hint, path, ...input }: Common & ComponentProps<'input'>) {
  const { id, error, described } = useDescription(path, hint)
  return (
    <Labelled {...{ label, hint, id, error }}>
      <input id={id} aria-describedby={described} aria-invalid={error !== undefined} {...input} />
    </Labelled>
  )
}

export function TextArea({ label, hint, path, ...input }: Common & ComponentProps<'textarea'>) {
  const { id, error, described } = useDescription(path, hint)
  return (
    <Labelled {...{ label, hint, id, error }}>
      <textarea id={id} rows={3} aria-describedby={described} aria-invalid={error !== undefined} {...input} />
    </Labelled>
  )
}

export function Select({
  label,
  hint,
  path,
  options,
  ...input
}: Common & ComponentProps<'select'> & { options: readonly (readonly [value: string, text: string])[] }) {
  const { id, error, described } = useDescription(path, hint)
  return (
    <Labelled {...{ label, hint, id, error }}>
      <select id={id} aria-describedby={described} {...input}>
        {options.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </Labelled>
  )
}

export function Check({ label, hint, ...input }: Common & ComponentProps<'input'>) {
  return (
    <label className="check">
      <input type="checkbox" {...input} />
      <span>
        {label}
        {hint !== undefined && <small>{hint}</small>}
      </span>
    </label>
  )
}

function useDescription(path: string | undefined, hint: ReactNode) {
  const id = useId()
  const error = useFieldError(path)
  const ids = [...(hint === undefined ? [] : [`${id}-hint`]), ...(error === undefined ? [] : [`${id}-error`])]
  return { id, error, described: ids.length > 0 ? ids.join(' ') : undefined }
}

function Labelled({
  label,
  hint,
  id,
  error,
  children,
}: {
  label: string
  hint?: ReactNode
  id: string
  error: string | undefined
  children: ReactNode
}) {
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children}
      {hint !== undefined && (
        <small id={`${id}-hint`} className="quiet">
          {hint}
        </small>
      )}
      {error !== undefined && (
        <small id={`${id}-error`} className="bad">
          {error}
        </small>
      )}
    </div>
  )
}
