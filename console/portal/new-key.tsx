import { useState } from 'react'
import { Dialog } from '../components/dialog.tsx'
import { Check, Field, Select, TextArea } from '../components/field.tsx'
import { Form, textIn } from '../components/form.tsx'
import { useChange } from '../lib/change.ts'
import { newIdempotencyKey } from '../lib/idempotency.ts'
import type { CreatedKey, NewKeyInput } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { ask } from './api.ts'
import { Secret } from './secret.tsx'

const DAYS = ['30', '90', '365'] as const

/** Makes a key, and shows it once. */
export function NewKey({ scopes }: { scopes: readonly string[] }) {
  const [isOpen, setOpen] = useState(false)
  const [expiry, setExpiry] = useState('90')
  // One for the form: sent again, for instance after a lost connection, it makes no second key.
  const [idempotencyKey, setIdempotencyKey] = useState(newIdempotencyKey)
  const [made, setMade] = useState<CreatedKey | null>(null)
  const close = () => {
    setOpen(false)
    change.reset()
  }
  const change = useChange(
    (input: NewKeyInput) =>
      ask((api) => api.keys.post(input, { headers: { 'idempotency-key': idempotencyKey } })),
    {
      onDone: (key) => {
        close()
        setMade(key)
        setIdempotencyKey(newIdempotencyKey())
      },
    },
  )
  const submit = (fields: FormData) => {
    const [name, description, date] = ['name', 'description', 'date'].map((each) => textIn(fields, each))
    change.mutate({
      ...(name !== undefined && { name }),
      ...(description !== undefined && { description }),
      scopes: fields.getAll('scope').map(String),
      ...(expiry === 'date' && date !== undefined && { expires_at: new Date(date).toISOString() }),
      ...(/^\d+$/.test(expiry) && { expires_in_days: Number(expiry) }),
    })
  }
  return (
    <>
      <button type="button" onClick={() => setOpen(true)}>
        {texts.portal.newKey}
      </button>
      {isOpen && (
        <Dialog title={texts.portal.newKey} onClose={close}>
          <Form
            button={texts.actions.create}
            isPending={change.isPending}
            error={change.error}
            onSubmit={submit}
            onCancel={close}
          >
            <Field
              label={texts.fields.name}
              hint={texts.portal.nameHint}
              name="name"
              path="/name"
              maxLength={100}
              autoComplete="off"
            />
            <fieldset className="choice">
              <legend>{texts.keys.scopes}</legend>
              {scopes.length === 0 && <p className="quiet">{texts.portal.noScopesHint}</p>}
              {scopes.map((scope) => (
                <Check key={scope} label={scope} name="scope" value={scope} defaultChecked />
              ))}
            </fieldset>
            <div className="row">
              <Select
                label={texts.portal.expires}
                path="/expires_in_days"
                value={expiry}
                onChange={({ target }) => setExpiry(target.value)}
                options={[
                  ...DAYS.map((days) => [days, texts.portal.in(days)] as const),
                  ['date', texts.newKey.onDate],
                  ['never', texts.newKey.never],
                ]}
              />
              {expiry === 'date' && (
                <Field
                  label={texts.newKey.date}
                  name="date"
                  path="/expires_at"
                  type="datetime-local"
                  required
                />
              )}
            </div>
            <TextArea
              label={texts.fields.description}
              hint={texts.portal.descriptionHint}
              name="description"
              path="/description"
              maxLength={500}
            />
          </Form>
        </Dialog>
      )}
      {made && <Secret text={made.key} onDone={() => setMade(null)} />}
    </>
  )
}
