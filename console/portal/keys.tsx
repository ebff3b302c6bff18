import { useEffect, useRef, useState } from 'react'
import { Badge } from '../components/badge.tsx'
import { Chart, RANGES, startOf, useRange } from '../components/chart.tsx'
import { Empty } from '../components/empty.tsx'
import { Check } from '../components/field.tsx'
import { Expiry, nameOf, Scopes } from '../components/key-cells.tsx'
import { List } from '../components/list.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Sparkline } from '../components/sparkline.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import type { ListedKey } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { useAsk, useKeys } from './api.ts'
import { Brand, ReturnLink } from './brand.tsx'
import { NewKey } from './new-key.tsx'
import { Revoke } from './revoke.tsx'
import { Rotate } from './rotate.tsx'
import { type Access, signOut } from './session.ts'

const isOver = ({ status }: ListedKey) => status === 'revoked' || status === 'expired'

/** The owner's keys, and what the session may do to them. */
export function KeysPage({ access }: { access: Access }) {
  const keys = useKeys()
  const [showsEnded, setShowsEnded] = useState(false)
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => {
    document.title = `${texts.portal.title} · ${access.name}`
    heading.current?.focus()
  }, [access.name])
  const ended = keys.data?.filter(isOver).length ?? 0
  const mayCreate = access.may.includes('create')
  return (
    <>
      <a href="#keys" className="skip">
        {texts.frame.skip}
      </a>
      <header className="portal-head">
        <Brand name={access.name} />
        <div className="actions">
          {access.return_url !== null && <ReturnLink to={access.return_url} />}
          <button type="button" className="plain small" onClick={() => void signOut()}>
            {texts.portal.signOut}
          </button>
        </div>
      </header>
      <main id="keys" className="portal-main">
        <div className="page-head">
          <div>
            <h1 ref={heading} tabIndex={-1}>
              {texts.portal.title}
            </h1>
            <p className="quiet">
              <bdi>
                {access.owner.label === null ? texts.portal.lead : texts.portal.forOwner(access.owner.label)}
              </bdi>
            </p>
          </div>
          {mayCreate && (
            <div className="actions">
              <NewKey scopes={access.scopes} />
            </div>
          )}
        </div>
        {ended > 0 && (
          <Check
            label={texts.portal.showEnded}
            checked={showsEnded}
            onChange={({ target }) => setShowsEnded(target.checked)}
          />
        )}
        <List of={keys} empty={<NoKeys mayCreate={mayCreate} />}>
          {(rows) => {
            const shown = rows.filter((key) => showsEnded || !isOver(key))
            return shown.length === 0 ? (
              <NoKeys mayCreate={mayCreate} />
            ) : (
              <Keys keys={shown} access={access} />
            )
          }}
        </List>
        <Usage />
      </main>
    </>
  )
}

const NoKeys = ({ mayCreate }: { mayCreate: boolean }) => (
  <Empty title={texts.portal.first}>
    <p className="quiet">{mayCreate ? texts.portal.firstLead : texts.portal.noneMade}</p>
  </Empty>
)

function Keys({ keys, access }: { keys: readonly ListedKey[]; access: Access }) {
  const changes = access.may.includes('rotate') || access.may.includes('revoke')
  return (
    <Table<ListedKey>
      label={texts.portal.title}
      rows={keys}
      idOf={({ id }) => id}
      columns={[
        {
          head: texts.keys.name,
          cell: (key) => (
            <>
              <strong className="name">
                <bdi>{nameOf(key)}</bdi>
              </strong>
              <code className="quiet">{key.start}…</code>
              {key.description !== null && (
                <small>
                  <bdi>{key.description}</bdi>
                </small>
              )}
            </>
          ),
        },
        {
          head: texts.keys.status,
          cell: ({ status, status_reason }) => (
            <>
              <Badge state={status} />
              {status_reason !== null && <small>{status_reason}</small>}
            </>
          ),
        },
        { head: texts.keys.use, cell: ({ usage = [] }) => <Sparkline days={usage} /> },
        { head: texts.keys.scopes, cell: ({ scopes }) => <Scopes scopes={scopes} /> },
        {
          head: texts.keys.lastUsed,
          cell: ({ last_used_at }) => <Time at={last_used_at} none={texts.keys.neverUsed} />,
        },
        { head: texts.keys.expires, cell: ({ expires_at }) => <Expiry at={expires_at} /> },
        ...(changes
          ? [{ head: texts.actions.actions, cell: (key: ListedKey) => <Actions of={key} access={access} /> }]
          : []),
      ]}
    />
  )
}

/** What may be done to a key. A key that holds more than the session was made for is only shown. */
function Actions({ of: key, access }: { of: ListedKey; access: Access }) {
  if (isOver(key)) return null
  if (!key.scopes.every((scope) => access.scopes.includes(scope))) return <small>{texts.portal.beyond}</small>
  return (
    <span className="actions">
      {access.may.includes('rotate') && <Rotate of={key} />}
      {access.may.includes('revoke') && <Revoke of={key} />}
    </span>
  )
}

/** How often all keys together were used. */
function Usage() {
  const [range] = useRange()
  const usage = useAsk(['usage', range], (api) =>
    api.usage.get({ query: { from: startOf(range), bucket: RANGES[range].bucket } }),
  )
  return (
    <section className="card portal-usage">
      <h2>{texts.portal.usage}</h2>
      <Loaded of={usage}>
        {({ buckets }) => (
          <Chart
            label={texts.portal.usage}
            buckets={buckets.map(({ at, counts: { VALID: valid, ...others } }) => ({
              at,
              valid,
              refused: Object.values(others).reduce((sum, count) => sum + count, 0),
            }))}
          />
        )}
      </Loaded>
    </section>
  )
}
