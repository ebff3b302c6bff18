import { useState } from 'react'
import { useSearchParams } from 'wouter'
import { ExportCsv } from '../components/export-csv.tsx'
import { Select } from '../components/field.tsx'
import { SearchField, StatusFilter } from '../components/filters.tsx'
import { nameOf } from '../components/key-cells.tsx'
import { KeyTable } from '../components/key-table.tsx'
import { List } from '../components/list.tsx'
import { OwnerLink } from '../components/owner.tsx'
import { Page } from '../components/page.tsx'
import { RevokeFound, RevokeSelected } from '../components/revoke-many.tsx'
import { useKeys } from '../lib/keys.ts'
import { isAdmin, useMe } from '../lib/me.ts'
import { useParam } from '../lib/params.ts'
import type { KeysQuery, ListedKey } from '../lib/types.ts'
import { texts } from '../texts.ts'

/** What the API takes of the URL, beside `all`. */
const NAMES = ['query', 'status', 'sort', 'external_id', 'expires_before', 'unused_since'] as const
const OF_FILTER: readonly string[] = NAMES.filter((name) => name !== 'sort')

/** The keys of everybody, newest first. */
export function AllKeysPage() {
  const me = useMe()
  const [params] = useSearchParams()
  const [sort, setSort] = useParam('sort')
  const [first] = useParam('cursor')
  const given = Object.fromEntries(
    NAMES.flatMap((name) => (params.get(name) ? [[name, params.get(name) ?? '']] : [])),
  )
  const filter = { ...given, all: 'true' } as KeysQuery & Record<string, string>
  const isFiltered = Object.keys(given).some((name) => OF_FILTER.includes(name))
  const keys = useKeys(filter, { first })
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const choose = (rows: readonly ListedKey[], isChosen: boolean) => {
    const next = new Set(chosen)
    for (const { id } of rows) isChosen ? next.add(id) : next.delete(id)
    setChosen(next)
  }
  return (
    <Page
      title={texts.pages['all-keys']}
      lead={texts.allKeys.lead}
      actions={isAdmin(me) && <ExportCsv path="/keys" query={filter} name="keys" />}
    >
      <div className="filters">
        <SearchField hint={texts.allKeys.searchHint} />
        <StatusFilter />
        <Select
          label={texts.allKeys.sort}
          value={sort}
          onChange={({ target }) => setSort(target.value)}
          options={Object.entries(texts.allKeys.sorts)}
        />
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
                {isFiltered && selected.length === 0 && live.length > 0 && <RevokeFound filter={filter} />}
              </div>
              <KeyTable
                label={texts.pages['all-keys']}
                keys={rows}
                owner={({ owner }) => owner && <OwnerLink of={owner} />}
                pick={{
                  head: texts.allKeys.chosen,
                  isPick: true,
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
