import { useState } from 'react'
import { ask, useChange } from '../lib/api.ts'
import { changesOf } from '../lib/change.ts'
import { formatInput } from '../lib/format.ts'
import type { Key, KeyPatch } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Dialog } from './dialog.tsx'
import { Field } from './field.tsx'
import { Form, textIn } from './form.tsx'
import { KeyFields, keyFieldsIn } from './key-fields.tsx'
import { limitChanges } from './limit-fields.tsx'
import { ScopeChoice, scopesIn } from './scopes.tsx'

/** Renames a key and sets its limits. Sends only what was changed. */
export function EditKey({ of: key }: { of: Key }) {
  const [isOpen, setOpen] = useState(false)
  const close = () => {
    setOpen(false)
    change.reset()
  }
  const change = useChange((patch: KeyPatch) => ask((api) => api.keys({ id: key.id }).patch(patch)), {
    done: texts.key.changed,
    onDone: close,
  })
  const submit = (fields: FormData) => {
    const end = textIn(fields, 'expires_at')
    const before = { ...key, expires_at: inMinutes(key.expires_at) }
    const changes = changesOf<typeof before>(before, {
      name: textIn(fields, 'name') ?? null,
      scopes: scopesIn(fields),
      expires_at: end === undefined ? null : inMinutes(new Date(end).toISOString()),
      ...keyFieldsIn(fields),
    })
    change.mutate({ ...(changes as KeyPatch), ...limitChanges(key, fields) })
  }
  return (
    <>
      <button type="button" className="plain" onClick={() => setOpen(true)}>
        {texts.actions.edit}
      </button>
      {isOpen && (
        <Dialog title={texts.key.editTitle} onClose={close}>
          <Form
            button={texts.actions.save}
            isPending={change.isPending}
            error={change.error}
            onSubmit={submit}
            onCancel={close}
          >
            <Field
              label={texts.fields.name}
              name="name"
              path="/name"
              maxLength={100}
              defaultValue={key.name ?? ''}
              autoComplete="off"
            />
            <ScopeChoice chosen={key.scopes} />
            <Field
              label={texts.keys.expires}
              hint={texts.key.expiresHint}
              name="expires_at"
              path="/expires_at"
              type="datetime-local"
              defaultValue={formatInput(key.expires_at)}
            />
            <KeyFields of={key} />
          </Form>
        </Dialog>
      )}
    </>
  )
}

/** The form knows minutes alone: seconds are no change. */
const inMinutes = (iso: string | null): string | null => iso && `${iso.slice(0, 16)}:00.000Z`
