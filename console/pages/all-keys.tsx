import { useState } from 'react'
import { SearchField, StatusFilter } from '../components/filters.tsx'
import { nameOf } from '../components/key-cells.tsx'
import { KeyTable } from '../components/key-table.tsx'
import { List } from '../components/list.tsx'
import { OwnerLink } from '../components/owner.tsx'
import { Page } from '../components/page.tsx'
import { RevokeSelected } from '../components/revoke-many.tsx'
import { useKeys } from '../lib/keys.ts'
import { useParam } from '../lib/params.ts'
import type { KeyStatus, ListedKey } from '../lib/types.ts'
import { texts } from '../texts.ts'

/** The keys of everybody, newest first. */
export function AllKeysPage() {
  const [status] = useParam('status')
  const [query] = useParam('query')
  const keys = useKeys({ all: 'true', query, status: status as KeyStatus })
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const choose = (rows: readonly ListedKey[], isChosen: boolean) => {
    const next = new Set(chosen)
    for (const { id } of rows) isChosen ? next.add(id) : next.delete(id)
    setChosen(next)
  }
  return (
    <Page title={texts.pages['all-keys']} lead={texts.allKeys.lead}>
      <div className="filters">
        <SearchField hint={texts.allKeys.searchHint} />
        <StatusFilter />
      </div>
      <List of={keys} none={texts.keys.noneFound}>
        {(rows) => {
          const live = rows.filter(({ revoked_at }) => revoked_at === null)
          const selected = live.filter(({ id }) => chosen.has(id))
          return (
            <>
              <div className="selection">
                <label className="check">
                  <input
                    type="checkbox"
                    checked={live.length > 0 && selected.length === live.length}
                    onChange={({ target }) => choose(live, target.checked)}
                  />
                  {texts.allKeys.chooseAll}
                </label>
                {selected.length > 0 && (
                  <RevokeSelected ids={selected.map(({ id }) => id)} onDone={() => setChosen(new Set())} />
                )}
              </div>
              <KeyTable
                label={texts.pages['all-keys']}
                keys={rows}
                owner={({ owner }) => owner && <OwnerLink of={owner} />}
                actions={{
                  head: texts.allKeys.chosen,
                  cell: (key) =>
                    key.revoked_at === null && (
                      <label className="check">
                        <input
                          type="checkbox"
                          aria-label={texts.allKeys.choose(nameOf(key))}
                          checked={chosen.has(key.id)}
                          onChange={({ target }) => choose([key], target.checked)}
                        />
                      </label>
                    ),
                }}
              />
            </>
          )
        }}
      </List>
    </Page>
  )
}
