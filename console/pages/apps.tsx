import { Link } from 'wouter'
import { Badge } from '../components/badge.tsx'
import { Empty } from '../components/empty.tsx'
import { Select } from '../components/field.tsx'
import { SearchField } from '../components/filters.tsx'
import { List } from '../components/list.tsx'
import { Page } from '../components/page.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { usePages } from '../lib/api.ts'
import { findApps } from '../lib/apps.ts'
import { useParam } from '../lib/params.ts'
import type { App, AppSource } from '../lib/types.ts'
import { texts } from '../texts.ts'

const { apps: words } = texts

/** The apps that act for people: those that an admin registered, and those that came by themselves. */
export function AppsPage() {
  const [query] = useParam('query')
  const [source, setSource] = useParam('source')
  const apps = usePages<App>(['apps', { query, source }], ({ cursor }) =>
    findApps({ query, source: source as AppSource | '' }, cursor),
  )
  const isWhole = query === '' && source === ''
  return (
    <Page
      title={texts.pages.apps}
      lead={words.lead}
      actions={
        <Link href="/apps/new" className="button">
          {words.new}
        </Link>
      }
    >
      <div className="filters">
        <SearchField hint={words.searchHint} />
        <Select
          label={words.source}
          value={source}
          onChange={({ target }) => setSource(target.value)}
          options={[['', words.anySource], ...Object.entries(words.sources)]}
        />
      </div>
      <List
        of={apps}
        empty={
          <Empty title={isWhole ? words.none : words.noneFound}>{isWhole && <p>{words.noneLead}</p>}</Empty>
        }
      >
        {(rows) => (
          <Table<App>
            label={texts.pages.apps}
            rows={rows}
            idOf={({ id }) => id}
            columns={[
              {
                head: texts.fields.name,
                cell: ({ id, client_id, name }) => (
                  <>
                    <Link href={`/apps/${id}`} className="name">
                      <bdi>{name}</bdi>
                    </Link>
                    {client_id !== id && <code className="quiet">{client_id}</code>}
                  </>
                ),
              },
              {
                head: words.state,
                cell: ({ is_active }) => <Badge state={is_active ? 'active' : 'disabled'} />,
              },
              { head: words.source, cell: ({ source: from }) => words.sources[from] },
              { head: words.kind, cell: ({ kind }) => words.kindNames[kind] },
              {
                head: texts.keys.lastUsed,
                cell: ({ last_used_at }) => <Time at={last_used_at} none={texts.keys.neverUsed} />,
              },
            ]}
          />
        )}
      </List>
    </Page>
  )
}
