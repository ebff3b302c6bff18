import { StatusFilter } from '../components/filters.tsx'
import { KeyTable } from '../components/key-table.tsx'
import { List } from '../components/list.tsx'
import { Owner } from '../components/owner.tsx'
import { Page } from '../components/page.tsx'
import { RevokeKey } from '../components/revoke-key.tsx'
import { askWhole, cursorIn, usePages } from '../lib/api.ts'
import { useParam } from '../lib/params.ts'
import type { Key } from '../lib/types.ts'
import { texts } from '../texts.ts'

/** The keys of everybody, newest first. */
export function AllKeysPage() {
  const [status] = useParam('status')
  const keys = usePages<Key>(['all-keys', { status }], async (cursor) => {
    const query = { all: 'true' as const, ...cursor, ...(status !== '' && { status: status as 'active' }) }
    const { data, response } = await askWhole((api) => api.keys.get({ query }))
    return { items: data ?? [], next_cursor: cursorIn(response) }
  })
  return (
    <Page title={texts.pages['all-keys']} lead={texts.allKeys.lead}>
      <div className="filters">
        <StatusFilter />
      </div>
      <List of={keys} none={texts.keys.noneFound}>
        {(rows) => (
          <KeyTable
            label={texts.pages['all-keys']}
            keys={rows}
            more={[{ head: texts.keys.owner, cell: (key) => <Owner of={key} /> }]}
            actions={(key) => (key.revoked_at === null ? <RevokeKey of={key} isPlain /> : null)}
          />
        )}
      </List>
    </Page>
  )
}
