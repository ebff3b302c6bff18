import { Link } from 'wouter'
import type { ServiceAccount } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Badge } from './badge.tsx'
import { Scopes } from './key-cells.tsx'
import { Table } from './table.tsx'
import { Time } from './time.tsx'

/** Service accounts, each a link to its page. */
export function AccountTable({ label, accounts }: { label: string; accounts: readonly ServiceAccount[] }) {
  return (
    <Table<ServiceAccount>
      label={label}
      rows={accounts}
      idOf={({ id }) => id}
      columns={[
        {
          head: texts.fields.name,
          cell: ({ id, name }) => (
            <Link href={`/service-accounts/${id}`} className="name">
              <bdi>{name}</bdi>
            </Link>
          ),
        },
        {
          head: texts.fields.externalId,
          cell: ({ external_id }) => external_id && <bdi>{external_id}</bdi>,
        },
        {
          head: texts.accounts.state,
          cell: ({ is_active }) => <Badge state={is_active ? 'active' : 'disabled'} />,
        },
        { head: texts.keys.scopes, cell: ({ scopes }) => <Scopes scopes={scopes} /> },
        { head: texts.keys.created, cell: ({ created_at }) => <Time at={created_at} /> },
      ]}
    />
  )
}
