import type { ReactNode } from 'react'
import { Link } from 'wouter'
import { AuditTable } from '../components/audit-table.tsx'
import { Chart, useRange } from '../components/chart.tsx'
import { KeyTable } from '../components/key-table.tsx'
import { Loaded } from '../components/loaded.tsx'
import { asBuckets, OwnerUsage } from '../components/owner-usage.tsx'
import { Card, Page } from '../components/page.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { Warnings } from '../components/warnings.tsx'
import { useAsk } from '../lib/api.ts'
import { formatNumber, formatShort } from '../lib/format.ts'
import type { Overview } from '../lib/types.ts'
import { texts } from '../texts.ts'

const { overview: words } = texts
const MILLION = 1_000_000
const DAY_MS = 24 * 3_600_000
const MOST_USED = 'most-used'
const MOST_REFUSED = 'most-refused'

/** What happened lately, and what to look at. Each figure leads to its list. */
export function OverviewPage() {
  const overview = useAsk(['overview'], (api) => api.overview.get())
  const { data } = overview
  return (
    <Page
      title={texts.pages.overview}
      lead={
        data && (
          <>
            {words.lead} <Time at={data.as_of} />
          </>
        )
      }
    >
      <Loaded of={overview}>{(found) => <Parts of={found} />}</Loaded>
    </Page>
  )
}

function Parts({ of: overview }: { of: Overview }) {
  return (
    <>
      <Warnings of={overview.warnings} />
      <Figures of={overview} />
      <Card title={texts.key.usage}>
        <Uses of={overview} />
      </Card>
      <div className="columns even">
        <Used id={MOST_USED} title={words.mostUsed} none={words.noneUsed} rows={overview.top_by_use} />
        <Used
          id={MOST_REFUSED}
          title={words.mostRefused}
          none={words.noneRefused}
          rows={overview.top_by_refusals}
        />
      </div>
      <Card title={words.expiring} actions={<Link href={EXPIRING}>{words.all}</Link>}>
        {overview.expiring.items.length === 0 ? (
          <p className="quiet">{words.noneExpiring}</p>
        ) : (
          <KeyTable label={words.expiring} keys={overview.expiring.items} isShort />
        )}
      </Card>
      <Card title={words.latest} actions={<Link href="/audit">{words.all}</Link>}>
        <AuditTable label={words.latest} events={overview.audit} />
      </Card>
    </>
  )
}

const EXPIRING = '/all-keys?status=expiring&sort=expires_at'

function Figures({ of: { as_of, last_24_hours, active_keys, logins, expiring } }: { of: Overview }) {
  const { VALID: accepted, ...refusals } = last_24_hours.totals
  const refused = Object.values(refusals).reduce((sum, count) => sum + count, 0)
  const from = new Date(Date.parse(as_of) - DAY_MS).toISOString()
  const events = (action: string) => `/audit?${new URLSearchParams({ action, from })}`
  return (
    <>
      <ul className="figures">
        <Figure name={words.keys} count={active_keys} to="/all-keys?status=active" />
        <Figure name={words.accepted} count={accepted} to={`#${MOST_USED}`} />
        <Figure name={words.refused} count={refused} to={`#${MOST_REFUSED}`} />
        <Figure name={words.expiringSoon} count={expiring.count} to={EXPIRING} isWarning />
        <Figure name={words.logins} count={logins.succeeded} to={events('user.login')} />
        <Figure name={words.failedLogins} count={logins.failed} to={events('user.login_failed')} />
        <Figure name={words.locked} count={logins.locked} to={events('user.locked')} isWarning />
      </ul>
      <Reasons of={refusals} />
    </>
  )
}

/** A figure and where it leads: to another page, or to a part of this one. */
function Figure({
  name,
  count,
  to,
  isWarning = false,
}: {
  name: string
  count: number
  to: string
  isWarning?: boolean
}) {
  return (
    <li>
      <To place={to}>
        <span>{name}</span>
        <strong className={isWarning && count > 0 ? 'soon' : undefined}>
          {count < MILLION ? formatNumber(count) : formatShort(count)}
        </strong>
      </To>
    </li>
  )
}

const To = ({ place, children }: { place: string; children: ReactNode }) =>
  place.startsWith('#') ? <a href={place}>{children}</a> : <Link href={place}>{children}</Link>

/** Which keys are refused for this reason, where a status says so. */
const STATUS_OF = new Map([
  ['REVOKED', 'revoked'],
  ['EXPIRED', 'expired'],
  ['DISABLED', 'disabled'],
  ['OWNER_DISABLED', 'owner_disabled'],
])

function Reasons({ of: refusals }: { of: Record<string, number> }) {
  const some = Object.entries(refusals)
    .filter(([, count]) => count > 0)
    .toSorted(([, a], [, b]) => b - a)
  if (some.length === 0) return null
  return (
    <p className="reasons">
      <span className="quiet">{words.why}</span>
      {some.map(([code, count]) => {
        const status = STATUS_OF.get(code)
        return (
          <To key={code} place={status === undefined ? `#${MOST_REFUSED}` : `/all-keys?status=${status}`}>
            {texts.outcomes[code] ?? code} <strong>{formatNumber(count)}</strong>
          </To>
        )
      })}
    </p>
  )
}

/** The last day is in the overview; other ranges are asked for. */
function Uses({ of: { last_24_hours } }: { of: Overview }) {
  const [range] = useRange('24h')
  return range === '24h' ? (
    <Chart label={texts.key.usage} buckets={asBuckets(last_24_hours.buckets)} fallback="24h" />
  ) : (
    <OwnerUsage of={{}} fallback="24h" />
  )
}

type Row = Overview['top_by_use'][number]

function Used({
  id: name,
  title,
  none,
  rows,
}: {
  id: string
  title: string
  none: string
  rows: readonly Row[]
}) {
  return (
    <Card title={title} id={name}>
      {rows.length === 0 ? (
        <p className="quiet">{none}</p>
      ) : (
        <Table<Row>
          label={title}
          rows={rows}
          idOf={({ id }) => id}
          columns={[
            {
              head: texts.parties.key ?? '',
              cell: ({ id, label }) => (
                <Link href={`/keys/${id}`} className="name">
                  <bdi>{label ?? id}</bdi>
                </Link>
              ),
            },
            { head: texts.key.count, cell: ({ count }) => formatNumber(count), isNumber: true },
          ]}
        />
      )}
    </Card>
  )
}
