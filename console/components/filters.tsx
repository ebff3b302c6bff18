import { useParam } from '../lib/params.ts'
import { texts } from '../texts.ts'
import { Field, Select } from './field.tsx'

/** What a list is searched by. It is in the URL. */
export function SearchField({ hint }: { hint: string }) {
  const [query, setQuery] = useParam('query')
  return (
    <Field
      label={texts.actions.search}
      type="search"
      placeholder={hint}
      autoComplete="off"
      spellCheck={false}
      value={query}
      onChange={({ target }) => setQuery(target.value)}
    />
  )
}

const STATUSES = ['active', 'expiring', 'unused', 'disabled', 'owner_disabled', 'expired', 'revoked'] as const

export function StatusFilter() {
  const [status, setStatus] = useParam('status')
  return (
    <Select
      label={texts.keys.status}
      value={status}
      onChange={({ target }) => setStatus(target.value)}
      options={[
        ['', texts.keys.anyStatus],
        ...STATUSES.map((name) => [name, texts.states[name] ?? name] as const),
      ]}
    />
  )
}
