import { ask, useChange } from '../lib/api.ts'
import type { Key } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Field } from './field.tsx'
import { Form, textIn } from './form.tsx'

type Check = { scopes?: string; ip?: string; cost?: number }
const { why: words } = texts

/** What a use of a key would be answered with now, check by check. It counts and charges nothing. */
export function WhyRefused({ of: { id } }: { of: Key }) {
  const change = useChange((input: Check) => ask((api) => api.keys({ id }).check.post(input)))
  const submit = (fields: FormData) => {
    const [scopes, ip, cost] = ['scopes', 'ip', 'cost'].map((name) => textIn(fields, name))
    change.mutate({
      ...(scopes !== undefined && { scopes }),
      ...(ip !== undefined && { ip }),
      ...(cost !== undefined && { cost: Number(cost) }),
    })
  }
  return (
    <>
      <p className="quiet">{words.lead}</p>
      <Form button={words.button} isPending={change.isPending} error={change.error} onSubmit={submit}>
        <div className="row">
          <Field
            label={words.scopes}
            name="scopes"
            path="/scopes"
            placeholder="read"
            autoComplete="off"
            spellCheck={false}
          />
          <Field
            label={words.address}
            name="ip"
            path="/ip"
            placeholder="203.0.113.9"
            autoComplete="off"
            spellCheck={false}
          />
          <Field label={words.cost} name="cost" path="/cost" type="number" min={0} placeholder="1" />
        </div>
      </Form>
      {change.data && (
        <div role="status">
          <p>
            <strong>{change.data.valid ? words.valid : words.refused(change.data.code)}</strong>{' '}
            {change.data.limited_by && words.limitedBy[change.data.limited_by]}
            {change.data.missing_scopes && words.missing(change.data.missing_scopes.join(', '))}
          </p>
          <ol className="checks">
            {change.data.checks.map(({ code, passed }) => (
              <li key={code} className={passed ? 'good' : 'bad'}>
                <span aria-hidden="true">{passed ? '✓' : '✗'}</span>
                <span>
                  {words.checks[code][passed ? 'passed' : 'failed']} <code className="quiet">{code}</code>
                </span>
              </li>
            ))}
          </ol>
        </div>
      )}
    </>
  )
}
