import { Link } from 'wouter'
import { useAsk } from '../lib/api.ts'
import { texts } from '../texts.ts'
import { AuditTable } from './audit-table.tsx'
import { Loaded } from './loaded.tsx'

const LIMIT = 20

/** The last events that concern something, for those who may read the audit trail. */
export function RecentAudit({ of: id, by = 'target' }: { of: string; by?: 'target' | 'actor' }) {
  const events = useAsk(['audit', by, id], (api) => api.audit.get({ query: { [by]: id, limit: LIMIT } }))
  return (
    <Loaded of={events}>
      {({ items }) =>
        items.length === 0 ? (
          <p className="quiet">{texts.audit.none}</p>
        ) : (
          <>
            <AuditTable label={texts.pages.audit} events={items} />
            <p>
              <Link href={`/audit?${by}=${id}`}>{texts.audit.all}</Link>
            </p>
          </>
        )
      }
    </Loaded>
  )
}
