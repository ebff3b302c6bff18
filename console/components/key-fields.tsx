import { mayLabel, useMe } from '../lib/me.ts'
import type { Key, KeyPatch } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Field, TextArea } from './field.tsx'
import { textIn } from './form.tsx'
import { LimitFields } from './limit-fields.tsx'

const { fields: words } = texts

/** What a key may have beside its name, its scopes and its end. */
export function KeyFields({ of: key }: { of?: Key }) {
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
      <LimitFields {...(key && { of: key })} />
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

/** What the fields say, but for the limits; null where one is empty. Labels only where they were offered. The API decides whether it is right. */
export function keyFieldsIn(fields: FormData) {
  const addresses = textIn(fields, 'allowed_ips')?.split(/[\s,]+/)
  const metadata = textIn(fields, 'metadata')
  return {
    description: textIn(fields, 'description') ?? null,
    allowed_ips: addresses ?? null,
    ...(fields.has('metadata') && {
      external_id: textIn(fields, 'external_id') ?? null,
      // What is no JSON goes as the text that it is: the API says that an object is asked for.
      metadata: metadata === undefined ? null : (parse(metadata) as Record<string, unknown>),
    }),
  } satisfies KeyPatch
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
