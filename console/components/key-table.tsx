import type { ReactNode } from 'react'
import { Link } from 'wouter'
import type { ListedKey } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Badge } from './badge.tsx'
import { Expiry, nameOf, Scopes } from './key-cells.tsx'
import { Sparkline } from './sparkline.tsx'
import { type Column, Table } from './table.tsx'
import { Time } from './time.tsx'

/** Keys, each a link to its page. */
export function KeyTable({
  label,
  keys,
  owner,
  pick,
  isShort = false,
  actions,
}: {
  label: string
  keys: readonly ListedKey[]
  /** Drawn in place of the scopes, where keys of several owners are listed. */
  owner?(key: ListedKey): ReactNode
  /** By which keys of the list are chosen. */
  pick?: Column<ListedKey>
  /** Without uses and scopes. */
  isShort?: boolean
  /** What is said of a key besides, and its heading. */
  actions?: Column<ListedKey>
}) {
  return (
    <Table<ListedKey>
      label={label}
      rows={keys}
      idOf={({ id }) => id}
      columns={[
        ...(pick ? [pick] : []),
        {
          head: texts.keys.name,
          cell: (key) => (
            <>
              <Link href={`/keys/${key.id}`} className="name">
                <bdi>{nameOf(key)}</bdi>
              </Link>
              <code className="quiet">{key.start}…</code>
            </>
          ),
        },
        ...(owner ? [{ head: texts.keys.owner, cell: owner }] : []),
        {
          head: texts.keys.status,
          cell: ({ status, status_reason }) => (
            <>
              <Badge state={status} />
              {status_reason !== null && <small>{status_reason}</small>}
            </>
          ),
        },
        ...(isShort
          ? []
          : [
              {
                head: texts.keys.use,
                cell: ({ usage }: ListedKey) => usage && <Sparkline days={usage} />,
              },
            ]),
        ...(owner || isShort
          ? []
          : [{ head: texts.keys.scopes, cell: ({ scopes }: ListedKey) => <Scopes scopes={scopes} /> }]),
        {
          head: texts.keys.lastUsed,
          cell: ({ last_used_at }) => <Time at={last_used_at} none={texts.keys.neverUsed} />,
        },
        { head: texts.keys.expires, cell: ({ expires_at }) => <Expiry at={expires_at} /> },
        ...(actions ? [actions] : []),
      ]}
    />
  )
}
