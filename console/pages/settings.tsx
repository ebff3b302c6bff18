import { Copy } from '../components/copy.tsx'
import { Facts } from '../components/facts.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Card, Page } from '../components/page.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { Warnings } from '../components/warnings.tsx'
import { useAsk } from '../lib/api.ts'
import type { Instance } from '../lib/types.ts'
import { texts } from '../texts.ts'

const { settings: words } = texts
type Setting = Instance['settings'][number]
type Server = Instance['instances'][number]

/** What runs here and how it is set. Nothing is changed here: settings come from the environment. */
export function SettingsPage() {
  const instance = useAsk(['instance'], (api) => api.instance.get())
  const { data } = instance
  return (
    <Page
      title={texts.pages.settings}
      lead={words.lead}
      actions={data && <Copy text={JSON.stringify(data, null, 2)} button={words.copy} />}
    >
      <Loaded of={instance}>{(found) => <Parts of={found} />}</Loaded>
    </Page>
  )
}

function Parts({ of: { version, started_at, database, settings, instances, warnings } }: { of: Instance }) {
  const chosen = settings.filter(({ source }) => source !== 'default')
  const others = settings.filter(({ source }) => source === 'default')
  return (
    <>
      <Warnings of={warnings} />
      <div className="columns even">
        <Card title={words.server}>
          <Facts
            of={[
              [words.version, version],
              [words.started, <Time key="started" at={started_at} />],
              [words.database, `${words.kinds[database.kind] ?? database.kind} ${database.version}`],
              [words.migration, <code key="migration">{database.migration}</code>],
            ]}
          />
        </Card>
        <Card title={words.instances}>
          <Table<Server>
            label={words.instances}
            rows={instances}
            idOf={({ id }) => id}
            columns={[
              { head: texts.keys.id, cell: ({ id }) => <code title={id}>{id.slice(-6)}</code> },
              { head: words.version, cell: (server) => server.version },
              { head: words.started, cell: (server) => <Time at={server.started_at} /> },
              { head: words.seen, cell: ({ seen_at }) => <Time at={seen_at} /> },
            ]}
          />
        </Card>
      </div>
      <Card title={words.chosen}>
        {chosen.length === 0 ? (
          <p className="quiet">{words.noneChosen}</p>
        ) : (
          <Settings label={words.chosen} rows={chosen} />
        )}
      </Card>
      <Card title={words.defaults}>
        <Settings label={words.defaults} rows={others} />
      </Card>
    </>
  )
}

function Settings({ label, rows }: { label: string; rows: readonly Setting[] }) {
  return (
    <Table<Setting>
      label={label}
      rows={rows}
      idOf={({ name }) => name}
      columns={[
        { head: texts.fields.name, cell: ({ name }) => <code>{name}</code> },
        {
          head: words.value,
          cell: ({ value }) =>
            value === null ? (
              <span className="quiet">{words.unset}</span>
            ) : (
              <code className="value">{String(value)}</code>
            ),
        },
        { head: words.source, cell: ({ source }) => words.sources[source] },
      ]}
    />
  )
}
