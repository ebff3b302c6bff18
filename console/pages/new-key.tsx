import { useState } from 'react'
import { useLocation, useSearchParams } from 'wouter'
import { Field, Select } from '../components/field.tsx'
import { Form, textIn } from '../components/form.tsx'
import { KeyFields, keyFieldsIn } from '../components/key-fields.tsx'
import { limitsIn } from '../components/limit-fields.tsx'
import { Card, Page } from '../components/page.tsx'
import { ScopeChoice, scopesIn } from '../components/scopes.tsx'
import { ShownOnce } from '../components/shown-once.tsx'
import { ask, useAsk, useChange } from '../lib/api.ts'
import { newIdempotencyKey } from '../lib/idempotency.ts'
import { API_URL } from '../lib/place.ts'
import type { CreatedKey, NewKeyInput } from '../lib/types.ts'
import { texts } from '../texts.ts'

const DAYS = ['30', '90', '365'] as const

/** Makes a key, of the person's own or of the service account that the URL names, and shows it once. */
export function NewKeyPage() {
  const [params] = useSearchParams()
  const [, navigate] = useLocation()
  const accountId = params.get('service_account_id')
  const account = useAsk(
    ['service-accounts', accountId],
    (api) => api['service-accounts']({ id: accountId ?? '' }).get(),
    accountId !== null,
  ).data
  const [expiry, setExpiry] = useState<string>('90')
  // One for the form: sent again, for instance after a lost connection, it makes no second key.
  const [idempotencyKey, setIdempotencyKey] = useState(() => newIdempotencyKey())
  const [made, setMade] = useState<CreatedKey | null>(null)
  const change = useChange(
    (input: NewKeyInput) =>
      ask((api) => api.keys.post(input, { headers: { 'idempotency-key': idempotencyKey } })),
    {
      onDone: (key) => {
        setMade(key)
        setIdempotencyKey(newIdempotencyKey())
      },
    },
  )
  if (made)
    return <Secret made={made} onDone={() => navigate(`/keys/${made.id}`)} onAnother={() => setMade(null)} />

  const submit = (fields: FormData) => {
    const name = textIn(fields, 'name')
    const date = textIn(fields, 'date')
    const more = Object.entries({ ...keyFieldsIn(fields), ...limitsIn(fields) }).filter(
      ([, value]) => value !== null,
    )
    change.mutate({
      ...Object.fromEntries(more),
      ...(name !== undefined && { name }),
      ...(accountId !== null && { service_account_id: accountId }),
      scopes: scopesIn(fields),
      ...(expiry === 'date' && date !== undefined && { expires_at: new Date(date).toISOString() }),
      ...(/^\d+$/.test(expiry) && { expires_in_days: Number(expiry) }),
    })
  }
  return (
    <Page title={texts.newKey.title} lead={account && texts.newKey.forAccount(account.name)}>
      <Card>
        <Form
          button={texts.actions.create}
          isPending={change.isPending}
          error={change.error}
          onSubmit={submit}
        >
          <Field
            label={texts.fields.name}
            hint={texts.newKey.nameHint}
            name="name"
            path="/name"
            maxLength={100}
            autoComplete="off"
          />
          <ScopeChoice chosen={[]} {...(account && { offered: account.scopes })} />
          <div className="row">
            <Select
              label={texts.keys.expires}
              path="/expires_in_days"
              value={expiry}
              onChange={({ target }) => setExpiry(target.value)}
              options={[
                ...DAYS.map((days) => [days, texts.newKey.inDays(days)] as const),
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
          <details>
            <summary>{texts.newKey.more}</summary>
            <KeyFields />
          </details>
        </Form>
      </Card>
    </Page>
  )
}

/** The key itself, this once. */
export const Secret = ({
  made,
  onDone,
  onAnother,
}: {
  made: CreatedKey
  onDone(): void
  onAnother?(): void
}) => (
  <ShownOnce
    words={texts.secret}
    parts={[
      [texts.secret.key, made.key],
      [texts.secret.dotenv, `LATCHKEY_API_KEY=${made.key}`],
      [texts.secret.curl, `curl ${API_URL}/auth/me -H "Authorization: Bearer ${made.key}"`],
    ]}
    onDone={onDone}
    {...(onAnother && { onAnother })}
  />
)
