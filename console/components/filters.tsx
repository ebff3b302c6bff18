import { useEffect, useState } from 'react'
import { useParam } from '../lib/params.ts'
import { texts } from '../texts.ts'
import { Field, Select } from './field.tsx'

/** How long a person types on before the list follows. */
const PAUSE_MS = 250

/** What a list is searched by. It is in the URL. */
export function SearchField({ hint }: { hint: string }) {
  const [query, setQuery] = useParam('query')
  const [typed, setTyped] = useState(query)
  // biome-ignore lint/correctness/useExhaustiveDependencies: only what is typed begins the pause anew
  useEffect(() => {
    if (typed === query) return
    const timer = setTimeout(() => setQuery(typed), PAUSE_MS)
    return () => clearTimeout(timer)
  }, [typed])
  return (
    <Field
      label={texts.actions.search}
      type="search"
      placeholder={hint}
      autoComplete="off"
      spellCheck={false}
      value={typed}
      onChange={({ target }) => setTyped(target.value)}
    />
  )
}

const STATUSES = ['active', 'expiring', 'unused', 'disabled', 'owner_disabled', 'expired', 'revoked'] as const

/** Which keys are listed, by what they are now. */
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
