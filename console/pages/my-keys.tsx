import { Link } from 'wouter'
import { Empty } from '../components/empty.tsx'
import { SearchField, StatusFilter } from '../components/filters.tsx'
import { KeyTable } from '../components/key-table.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Page } from '../components/page.tsx'
import { useAsk } from '../lib/api.ts'
import { useParam } from '../lib/params.ts'
import { API_URL } from '../lib/place.ts'
import type { Key } from '../lib/types.ts'
import { texts } from '../texts.ts'

/** The person's own keys. They have at most a thousand, so that searching them needs no request. */
export function MyKeysPage() {
  const [status] = useParam('status')
  const [query] = useParam('query')
  const keys = useAsk(['keys', { status }], (api) =>
    api.keys.get({ query: status === '' ? {} : { status: status as 'active' } }),
  )
  return (
    <Page
      title={texts.pages.keys}
      lead={texts.keys.lead}
      actions={
        <Link href="/keys/new" className="button">
          {texts.actions.create}
        </Link>
      }
    >
      <div className="filters">
        <SearchField hint={texts.keys.searchHint} />
        <StatusFilter />
      </div>
      <Loaded of={keys}>
        {(all) => {
          const found = all.filter((key) => matches(key, query))
          if (all.length === 0 && status === '') return <FirstKey />
          if (found.length === 0) return <Empty title={texts.keys.noneFound} />
          return <KeyTable label={texts.pages.keys} keys={found} />
        }}
      </Loaded>
    </Page>
  )
}

function matches({ name, start, external_id }: Key, query: string): boolean {
  const words = query.toLowerCase().split(/\s+/)
  const text = `${name ?? ''} ${start} ${external_id ?? ''}`.toLowerCase()
  return words.every((word) => text.includes(word))
}

function FirstKey() {
  const command = `curl -X POST ${API_URL}/keys \\
  -H "Authorization: Bearer $ACCESS_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{"name": "my-first-key", "scopes": "read"}'`
  return (
    <Empty title={texts.keys.first} command={command}>
      <p>{texts.keys.firstLead}</p>
      <p>
        <Link href="/keys/new" className="button">
          {texts.keys.makeFirst}
        </Link>
      </p>
      <p className="quiet">{texts.keys.firstByApi}</p>
    </Empty>
  )
}
