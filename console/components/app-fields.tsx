import { useState } from 'react'
import { useAsk } from '../lib/api.ts'
import type { App, NewAppInput } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Check, Field, Select, TextArea } from './field.tsx'
import { linesIn, textIn, useFieldError } from './form.tsx'
import { ScopeChoice, scopesIn } from './scopes.tsx'

const { apps: words } = texts
type Kind = NewAppInput['kind']
type Grant = NewAppInput['grants'][number]
const GRANTS = Object.keys(words.grants) as Grant[]
const USUAL: readonly string[] = ['authorization_code', 'refresh_token']

/** What an admin says of an app. Its kind is chosen once. */
export function AppFields({ of: app }: { of?: App }) {
  const [kind, setKind] = useState<Kind>(app?.kind ?? 'public')
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
        defaultValue={app?.name}
      />
      {!app && (
        <Select
          label={words.kind}
          hint={words.kindHints[kind]}
          name="kind"
          path="/kind"
          value={kind}
          onChange={({ target }) => setKind(target.value as Kind)}
          options={Object.entries(words.kinds)}
        />
      )}
      <TextArea
        label={words.redirects}
        hint={words.redirectsHint}
        name="redirect_uris"
        path="/redirect_uris"
        spellCheck={false}
        defaultValue={app?.redirect_uris.join('\n')}
      />
      <Grants chosen={app?.grants ?? USUAL} />
      <Scopes chosen={app?.scopes ?? null} />
      <Check
        label={words.firstParty}
        hint={words.firstPartyHint}
        name="first_party"
        defaultChecked={app?.first_party}
      />
      <details>
        <summary>{words.more}</summary>
        <TextArea
          label={words.signedOut}
          hint={words.signedOutHint}
          name="post_logout_redirect_uris"
          path="/post_logout_redirect_uris"
          spellCheck={false}
          defaultValue={app?.post_logout_redirect_uris.join('\n')}
        />
        {!app && kind === 'confidential' && (
          <Field
            label={words.keysAt}
            hint={words.keysAtHint}
            name="jwks_uri"
            path="/jwks_uri"
            type="url"
            autoComplete="off"
          />
        )}
      </details>
    </>
  )
}

function Grants({ chosen }: { chosen: readonly string[] }) {
  const error = useFieldError('/grants')
  return (
    <fieldset className="choice">
      <legend>{words.waysIn}</legend>
      {GRANTS.map((grant) => (
        <Check
          key={grant}
          label={words.grants[grant]}
          name="grant"
          value={grant}
          defaultChecked={chosen.includes(grant)}
        />
      ))}
      {error !== undefined && (
        <small className="bad" role="alert">
          {error}
        </small>
      )}
    </fieldset>
  )
}

/** Scopes that are the most that the app gets; or none, which is no limit. Offered are those of the APIs. */
function Scopes({ chosen }: { chosen: readonly string[] | null }) {
  const [isLimited, setLimited] = useState(chosen !== null)
  const apis = useAsk(['apis', 'all'], (api) => api.resources.get({ query: { limit: 100 } })).data
  const offered = apis?.items.flatMap(({ scopes }) => scopes.map(({ name }) => name)) ?? []
  return (
    <>
      <Check
        label={words.limit}
        hint={words.limitHint}
        name="is_limited"
        checked={isLimited}
        onChange={({ target }) => setLimited(target.checked)}
      />
      {isLimited && <ScopeChoice chosen={chosen ?? []} offered={offered} />}
    </>
  )
}

/** What the fields say, but for the kind. The API decides whether it is right. */
export const appFieldsIn = (fields: FormData) => ({
  name: textIn(fields, 'name') ?? '',
  redirect_uris: linesIn(fields, 'redirect_uris'),
  post_logout_redirect_uris: linesIn(fields, 'post_logout_redirect_uris'),
  grants: fields.getAll('grant') as Grant[],
  scopes: fields.has('is_limited') ? scopesIn(fields) : null,
  first_party: fields.has('first_party'),
})
