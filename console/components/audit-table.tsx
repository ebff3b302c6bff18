import { Link } from 'wouter'
import { formatUtc } from '../lib/format.ts'
import { isAdmin, isStaff, useMe } from '../lib/me.ts'
import type { AuditEvent, Me } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Badge } from './badge.tsx'
import { Copy } from './copy.tsx'
import { Table } from './table.tsx'
import { Time } from './time.tsx'

const PLACES: Record<string, string> = {
  user: 'users',
  api_key: 'keys',
  key: 'keys',
  service_account: 'service-accounts',
  client: 'apps',
  resource: 'apis',
}
/** Whom the page of a place is for, where it is not for everybody. */
const MAY_OPEN: Record<string, (me: Me | undefined) => boolean> = {
  users: isStaff,
  apps: isAdmin,
  apis: isAdmin,
}

/** Events of the audit trail, each with its details to unfold. */
export function AuditTable({ label, events }: { label: string; events: readonly AuditEvent[] }) {
  return (
    <Table<AuditEvent>
      label={label}
      rows={events}
      idOf={({ id }) => id}
      columns={[
        { head: texts.audit.when, cell: ({ at }) => <Time at={at} /> },
        {
          head: texts.audit.action,
          cell: (event) => (
            <details className="event">
              <summary>{event.action}</summary>
              <Details of={event} />
            </details>
          ),
        },
        { head: texts.audit.outcome, cell: ({ outcome }) => <Badge state={outcome} /> },
        { head: texts.audit.actor, cell: ({ actor }) => <Party of={actor} /> },
        { head: texts.audit.target, cell: ({ target }) => <Party of={target} /> },
        { head: texts.audit.address, cell: ({ ip }) => ip ?? '' },
      ]}
    />
  )
}

function Party({ of: { type, id } }: { of: AuditEvent['actor'] }) {
  const me = useMe()
  if (type === null) return null
  if (id !== null && id === me?.id) return texts.keys.you
  const place = PLACES[type]
  const name = texts.parties[type] ?? type
  if (id === null || place === undefined || MAY_OPEN[place]?.(me) === false) return name
  return (
    <Link href={`/${place}/${id}`} title={id}>
      {name} {id.slice(-6)}
    </Link>
  )
}

function Details({ of: event }: { of: AuditEvent }) {
  return (
    <>
      <p className="quiet">{formatUtc(event.at)}</p>
      {event.request_id !== null && (
        <p className="quiet">
          {texts.errors.requestId} <code>{event.request_id}</code>{' '}
          <Copy text={event.request_id} label={texts.errors.copyRequestId} />
        </p>
      )}
      {Object.keys(event.details).length > 0 && <pre>{JSON.stringify(event.details, null, 2)}</pre>}
    </>
  )
}
