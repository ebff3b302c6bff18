import { ask } from '../lib/api.ts'
import { changesOf } from '../lib/change.ts'
import { formatInput } from '../lib/format.ts'
import type { Key, KeyPatch } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Edit } from './edit.tsx'
import { Field } from './field.tsx'
import { textIn } from './form.tsx'
import { KeyFields, keyFieldsIn } from './key-fields.tsx'
import { limitChanges } from './limit-fields.tsx'
import { ScopeChoice, scopesIn } from './scopes.tsx'

/** Renames a key and sets its limits. Sends only what was changed. */
export function EditKey({ of: key }: { of: Key }) {
  const save = (fields: FormData) => {
    const end = textIn(fields, 'expires_at')
    const before = { ...key, expires_at: inMinutes(key.expires_at) }
    const changes = changesOf<typeof before>(before, {
      name: textIn(fields, 'name') ?? null,
      scopes: scopesIn(fields),
      expires_at: end === undefined ? null : inMinutes(new Date(end).toISOString()),
      ...keyFieldsIn(fields),
    })
    const patch: KeyPatch = { ...(changes as KeyPatch), ...limitChanges(key, fields) }
    return ask((api) => api.keys({ id: key.id }).patch(patch))
  }
  return (
    <Edit title={texts.key.editTitle} save={save}>
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
    </Edit>
  )
}

/** The form knows minutes alone: seconds are no change. */
const inMinutes = (iso: string | null): string | null => iso && `${iso.slice(0, 16)}:00.000Z`
