import { mayLabel, useMe } from '../lib/me.ts'
import type { Key, KeyPatch } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Field, Select, TextArea } from './field.tsx'
import { textIn } from './form.tsx'

const { fields: words } = texts

/** What a key may have beside its name, its scopes and its end. */
export function KeyFields({ of: key }: { of?: Key }) {
  const { rate_limit: rate, credits } = key ?? {}
  return (
    <>
      <TextArea
        label={words.description}
        name="description"
        path="/description"
        defaultValue={key?.description ?? ''}
      />
      <TextArea
        label={words.addresses}
        hint={words.addressesHint}
        name="allowed_ips"
        path="/allowed_ips"
        defaultValue={key?.allowed_ips?.join('\n') ?? ''}
        spellCheck={false}
      />
      <div className="row">
        <Field
          label={words.rateLimit}
          hint={words.rateLimitHint}
          name="limit"
          path="/rate_limit"
          type="number"
          min={1}
          defaultValue={rate?.limit}
        />
        <Field
          label={words.window}
          name="window"
          type="number"
          min={1}
          defaultValue={rate?.window_seconds ?? 60}
        />
      </div>
      <div className="row">
        <Field
          label={words.credits}
          hint={words.creditsHint}
          name="credits"
          path="/credits"
          type="number"
          min={0}
          defaultValue={credits?.remaining}
        />
        <Select
          label={words.refill}
          name="refill"
          defaultValue={credits?.refill?.interval ?? ''}
          options={Object.entries(words.refills)}
        />
        <Field
          label={words.refillAmount}
          name="amount"
          type="number"
          min={1}
          defaultValue={credits?.refill?.amount}
        />
      </div>
      {mayLabel(useMe()) && <Labels of={key} />}
    </>
  )
}

/** What those who verify the key are told: for people who may set it alone. */
const Labels = ({ of: key }: { of: Key | undefined }) => (
  <>
    <Field
      label={words.externalId}
      hint={words.externalIdHint}
      name="external_id"
      path="/external_id"
      defaultValue={key?.external_id ?? ''}
    />
    <TextArea
      label={words.metadata}
      hint={words.metadataHint}
      name="metadata"
      path="/metadata"
      defaultValue={key?.metadata ? JSON.stringify(key.metadata, null, 2) : ''}
      spellCheck={false}
    />
  </>
)

/**
 * What the fields say, null where one is empty; labels only where they were offered. The API decides whether it is right.
 * @param before the key as it was: what the fields do not show of its refill stays
 */
export function keyFieldsIn(fields: FormData, before?: Key) {
  const number = (name: string) => (textIn(fields, name) === undefined ? null : Number(textIn(fields, name)))
  const addresses = textIn(fields, 'allowed_ips')?.split(/[\s,]+/)
  const [limit, credits, amount] = [number('limit'), number('credits'), number('amount')]
  const interval = textIn(fields, 'refill') as 'daily' | 'weekly' | 'monthly' | undefined
  const metadata = textIn(fields, 'metadata')
  return {
    description: textIn(fields, 'description') ?? null,
    allowed_ips: addresses ?? null,
    rate_limit: limit === null ? null : { limit, window_seconds: number('window') ?? 0 },
    credits:
      credits === null
        ? null
        : {
            remaining: credits,
            refill: interval ? { ...refillOf(interval, before), amount: amount ?? 0 } : null,
          },
    ...(fields.has('metadata') && {
      external_id: textIn(fields, 'external_id') ?? null,
      // What is no JSON goes as the text that it is: the API says that an object is asked for.
      metadata: metadata === undefined ? null : (parse(metadata) as Record<string, unknown>),
    }),
  } satisfies KeyPatch
}

function refillOf(interval: 'daily' | 'weekly' | 'monthly', before: Key | undefined) {
  const known = before?.credits?.refill
  return known?.interval === interval ? known : { interval }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** Only what differs: to name what stays as it is would ask for rights that the change does not need. */
export function changesOf<T extends object>(before: T, after: Partial<T>): Partial<T> {
  const differs = ([name, value]: [string, unknown]) =>
    JSON.stringify(value) !== JSON.stringify((before as Record<string, unknown>)[name])
  return Object.fromEntries(Object.entries(after).filter(differs)) as Partial<T>
}
