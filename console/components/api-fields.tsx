import { useRef, useState } from 'react'
import type { NewResourceInput, Resource } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Field, Select } from './field.tsx'
import { textIn } from './form.tsx'

const { apis: words } = texts
type Scope = Resource['scopes'][number]
type Row = Partial<Scope> & { key: number }

/** What an admin says of an API. Its identifier is chosen once. */
export function ApiFields({ of: api }: { of?: Resource }) {
  return (
    <>
      <Field
        label={texts.fields.name}
        hint={words.nameHint}
        name="name"
        path="/name"
        required
        maxLength={100}
        autoComplete="off"
        defaultValue={api?.name}
      />
      {!api && (
        <Field
          label={words.identifier}
          hint={words.identifierHint}
          name="identifier"
          path="/identifier"
          required
          maxLength={500}
          autoComplete="off"
          spellCheck={false}
        />
      )}
      <Field
        label={words.slug}
        hint={words.slugHint}
        name="slug"
        path="/slug"
        required
        maxLength={50}
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        defaultValue={api?.slug}
      />
      <Field
        label={words.lifetime}
        hint={words.lifetimeHint}
        name="lifetime"
        path="/token_lifetime_seconds"
        inputMode="numeric"
        autoComplete="off"
        defaultValue={api?.token_lifetime_seconds ?? ''}
      />
      <ScopeRows of={api?.scopes ?? [{}]} />
    </>
  )
}

/** Scopes, each with the sentence that people read where they are asked, and who may say yes. */
function ScopeRows({ of: scopes }: { of: readonly Partial<Scope>[] }) {
  const [rows, setRows] = useState<readonly Row[]>(() => scopes.map((scope, key) => ({ ...scope, key })))
  const last = useRef(scopes.length)
  const add = () => {
    setRows([...rows, { key: last.current }])
    last.current += 1
  }
  return (
    <>
      {rows.map((row, at) => (
        <fieldset key={row.key} className="part">
          <legend>{words.scope(at + 1)}</legend>
          <div className="row">
            <Field
              label={texts.fields.name}
              name="scope_name"
              path={`/scopes/${at}/name`}
              required
              maxLength={64}
              autoComplete="off"
              autoCapitalize="none"
              spellCheck={false}
              defaultValue={row.name}
            />
            <Select
              label={words.grantable}
              name="scope_grantable"
              path={`/scopes/${at}/grantable_by`}
              defaultValue={row.grantable_by}
              options={Object.entries(words.grantableBy)}
            />
          </div>
          <Field
            label={texts.fields.description}
            hint={words.descriptionHint}
            name="scope_description"
            path={`/scopes/${at}/description`}
            required
            maxLength={500}
            autoComplete="off"
            defaultValue={row.description}
          />
          <div className="actions">
            <button
              type="button"
              className="plain small"
              aria-label={words.removeScope(at + 1)}
              onClick={() => setRows(rows.filter(({ key }) => key !== row.key))}
            >
              {words.remove}
            </button>
          </div>
        </fieldset>
      ))}
      <div className="actions">
        <button type="button" className="plain" onClick={add}>
          {words.addScope}
        </button>
      </div>
    </>
  )
}

/** What the fields say, but for the identifier. The API decides whether it is right. */
export function apiFieldsIn(fields: FormData): Omit<NewResourceInput, 'identifier'> {
  const [names, descriptions, whom] = ['scope_name', 'scope_description', 'scope_grantable'].map((name) =>
    fields.getAll(name).map((value) => String(value).trim()),
  )
  const lifetime = textIn(fields, 'lifetime')
  return {
    name: textIn(fields, 'name') ?? '',
    slug: textIn(fields, 'slug') ?? '',
    scopes: (names ?? []).map((name, at) => ({
      name,
      description: descriptions?.[at] ?? '',
      grantable_by: whom?.[at] === 'ceiling' ? ('ceiling' as const) : ('everyone' as const),
    })),
    token_lifetime_seconds: lifetime === undefined ? null : Number(lifetime),
  }
}
