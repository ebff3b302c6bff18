import type { ask } from '../lib/api.ts'
import { formatCount } from '../lib/format.ts'
import type { Grant } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Confirm } from './confirm.tsx'
import { Check } from './field.tsx'
import { Scopes } from './key-cells.tsx'
import { Table } from './table.tsx'
import { Time } from './time.tsx'

const { grants: words } = texts
const WITH_KEYS = { query: { created: 'true' } } as const

/** The options of a request that ends a grant. */
type Ending = { query: { created?: 'true' } }

/** The grants of a person. A button at each grant ends it. */
export function GrantTable({
  grants,
  end,
}: {
  grants: readonly Grant[]
  end(id: string, options: Ending): ReturnType<typeof ask>
}) {
  return (
    <Table<Grant>
      label={words.title}
      rows={grants}
      idOf={({ id }) => id}
      columns={[
        {
          head: words.app,
          cell: ({ client }) => (
            <>
              <bdi className="name">{client.name}</bdi>
              {client.host !== null && <code className="quiet">{client.host}</code>}
              <small className="quiet">{texts.apps.sources[client.source]}</small>
            </>
          ),
        },
        {
          head: words.api,
          cell: ({ resource }) => (
            <>
              <bdi className="name">{resource.name}</bdi>
              <code className="quiet">{resource.identifier}</code>
            </>
          ),
        },
        { head: texts.keys.scopes, cell: ({ scopes }) => <Scopes scopes={scopes} /> },
        {
          head: words.allowed,
          cell: ({ first_allowed_at: first, last_allowed_at: last }) => (
            <>
              <Time at={first} />
              {last !== first && (
                <small className="quiet">
                  {words.again} <Time at={last} />
                </small>
              )}
            </>
          ),
        },
        {
          head: texts.keys.lastUsed,
          cell: ({ last_used_at }) => <Time at={last_used_at} none={texts.keys.neverUsed} />,
        },
        {
          head: texts.actions.actions,
          cell: ({ id, client, resource, sessions }) => (
            <Confirm
              button={words.disconnect}
              title={words.disconnectTitle(client.name)}
              isPlain
              act={(fields) => end(id, fields.has('created') ? WITH_KEYS : { query: {} })}
              done={words.disconnected}
            >
              <p>{words.disconnectLead(resource.name, formatCount(sessions, 'session'))}</p>
              <Check label={words.withKeys} name="created" />
            </Confirm>
          ),
        },
      ]}
    />
  )
}
