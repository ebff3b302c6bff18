import { Link } from 'wouter'
import { Empty } from '../components/empty.tsx'
import { SearchField, StatusFilter } from '../components/filters.tsx'
import { KeyTable } from '../components/key-table.tsx'
import { List } from '../components/list.tsx'
import { Page } from '../components/page.tsx'
import { useKeys } from '../lib/keys.ts'
import { useParam } from '../lib/params.ts'
import { API_URL } from '../lib/place.ts'
import type { KeyStatus } from '../lib/types.ts'
import { texts } from '../texts.ts'

/** The person's own keys. */
export function MyKeysPage() {
  const [status] = useParam('status')
  const [query] = useParam('query')
  const [first] = useParam('cursor')
  const keys = useKeys({ query, status: status as KeyStatus }, { first })
  const isFiltered = status !== '' || query !== ''
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
      <List of={keys} empty={isFiltered ? <Empty title={texts.keys.noneFound} /> : <FirstKey />}>
        {(rows) => <KeyTable label={texts.pages.keys} keys={rows} />}
      </List>
    </Page>
  )
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
