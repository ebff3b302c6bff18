import { useState } from 'react'
import { AuditTable } from '../components/audit-table.tsx'
import { Badge } from '../components/badge.tsx'
import { bucketsOf, Chart, RANGES, startOf, useRange } from '../components/chart.tsx'
import { Confirm } from '../components/confirm.tsx'
import { Copy } from '../components/copy.tsx'
import { EditKey } from '../components/edit-key.tsx'
import { Facts } from '../components/facts.tsx'
import { Select } from '../components/field.tsx'
import { textIn } from '../components/form.tsx'
import { Expiry, nameOf, Scopes } from '../components/key-cells.tsx'
import { AddCredits, CreditsMeter } from '../components/limits.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Meter } from '../components/meter.tsx'
import { Owner } from '../components/owner.tsx'
import { Card, Page } from '../components/page.tsx'
import { RecentAudit } from '../components/recent-audit.tsx'
import { RevokeKey } from '../components/revoke-key.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { WhyRefused } from '../components/why-refused.tsx'
import { ask, useAsk, useChange } from '../lib/api.ts'
import { formatNumber, formatSeconds } from '../lib/format.ts'
import { managesAccount } from '../lib/keys.ts'
import { isAdmin, isStaff, useMe } from '../lib/me.ts'
import type { CreatedKey, Key, Refused } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Secret } from './new-key.tsx'

const { key: words } = texts

/** One key: what it is, how it is used, and what may be done to it. */
export function KeyPage({ id }: { id: string }) {
  const key = useAsk(['keys', id], (api) => api.keys({ id }).get())
  const [rotated, setRotated] = useState<CreatedKey | null>(null)
  if (rotated) return <Secret made={rotated} onDone={() => setRotated(null)} />
  return (
    <Page
      title={key.data ? nameOf(key.data) : key.error ? texts.errors.title : texts.loading}
      lead={key.data && <Status of={key.data} />}
      actions={key.data && <Actions of={key.data} onRotated={setRotated} />}
    >
      <Loaded of={key}>{(found) => <Parts of={found} />}</Loaded>
    </Page>
  )
}

function Status({ of: { status, status_reason, revoked_reason } }: { of: Key }) {
  return (
    <>
      <Badge state={status} /> {status_reason ?? words.works}{' '}
      {revoked_reason !== null && (
        <>
          {words.reason} <q>{revoked_reason}</q>
        </>
      )}
    </>
  )
}

/** What the signed-in person may do to a key. */
function useRights(key: Key) {
  const me = useMe()
  const isSupport = isStaff(me) && !isAdmin(me)
  const account = useAsk(
    ['service-accounts', key.service_account_id],
    (api) => api['service-accounts']({ id: key.service_account_id ?? '' }).get(),
    isSupport && key.service_account_id !== null,
  )
  const isManaged = !isSupport || (account.data !== undefined && managesAccount(account.data, me))
  const owner = useAsk(
    ['users', key.user_id],
    (api) => api.users({ id: key.user_id ?? '' }).get(),
    isSupport && key.user_id !== null && key.user_id !== me?.id,
  )
  // To show a secret takes the power to grant it: an admin does not rotate the key of another person.
  const isOwn = key.user_id === me?.id || (key.service_account_id !== null && isManaged)
  const isLive = key.revoked_at === null
  return {
    // Support does nothing to keys of admins.
    mayEnd: isLive && (isOwn || owner.data?.role !== 'admin'),
    mayRotate: isLive && isOwn,
    mayChange: isLive && (isOwn || isAdmin(me)),
  }
}

function Actions({ of: key, onRotated }: { of: Key; onRotated(made: CreatedKey): void }) {
  const { id } = key
  const { mayEnd, mayRotate, mayChange } = useRights(key)
  const change = useChange((is_active: boolean) => ask((api) => api.keys({ id }).patch({ is_active })))
  if (!mayEnd) return null
  return (
    <>
      {mayChange && <EditKey of={key} />}
      {mayRotate && (
        <Confirm
          button={texts.actions.rotate}
          title={words.rotateTitle}
          isDangerous={false}
          isPlain
          act={async (fields) => {
            const overlap_seconds = Number(textIn(fields, 'overlap'))
            onRotated(await ask((api) => api.keys({ id }).rotate.post({ overlap_seconds })))
          }}
        >
          <p>{words.rotateLead}</p>
          <Select
            label={words.overlap}
            name="overlap"
            defaultValue="86400"
            options={Object.entries(words.overlaps)}
          />
        </Confirm>
      )}
      {key.is_active ? (
        <Confirm
          button={texts.actions.disable}
          title={words.disableTitle}
          isPlain
          act={() => ask((api) => api.keys({ id }).patch({ is_active: false }))}
          done={words.disabled}
        >
          <p>{words.disableLead}</p>
        </Confirm>
      ) : (
        mayChange && (
          <button type="button" className="plain" onClick={() => change.mutate(true)}>
            {texts.actions.enable}
          </button>
        )
      )}
      <RevokeKey of={key} />
    </>
  )
}

function Parts({ of: key }: { of: Key }) {
  const me = useMe()
  const { mayChange } = useRights(key)
  return (
    <>
      <div className="columns">
        <Card title={words.about}>
          <Facts
            of={[
              [texts.keys.owner, <Owner key="owner" of={key} />],
              [texts.keys.scopes, <Scopes key="scopes" scopes={key.scopes} />],
              [texts.keys.expires, <Expiry key="expiry" at={key.expires_at} />],
              [texts.keys.lastUsed, <Time key="used" at={key.last_used_at} none={texts.keys.neverUsed} />],
              [texts.keys.created, <Time key="created" at={key.created_at} />],
              [texts.fields.addresses, key.allowed_ips?.join(', ')],
              [texts.fields.description, key.description && <bdi>{key.description}</bdi>],
              [texts.fields.externalId, key.external_id && <bdi>{key.external_id}</bdi>],
              [
                texts.keys.id,
                <span key="id" className="copied">
                  <code>{key.id}</code> <Copy text={key.id} label={texts.keys.copyId} />
                </span>,
              ],
            ]}
          />
        </Card>
        <Card
          title={words.limits}
          actions={mayChange && key.credits && <AddCredits to={{ kind: 'keys', id: key.id }} />}
        >
          <Limits of={key} />
        </Card>
      </div>
      <Card title={words.usage}>
        <Usage of={key} />
      </Card>
      <Card title={words.whyRefused}>
        <WhyRefused of={key} />
      </Card>
      <Refusals of={key} />
      <Card title={words.secrets}>
        <Secrets of={key} />
      </Card>
      {key.metadata !== null && (
        <Card title={texts.fields.metadata}>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable region has to take the focus */}
          <pre tabIndex={0}>{JSON.stringify(key.metadata, null, 2)}</pre>
        </Card>
      )}
      {isStaff(me) ? (
        <Card title={texts.pages.audit}>
          <RecentAudit of={key.id} />
        </Card>
      ) : (
        me && <OwnEvents of={key.id} />
      )}
    </>
  )
}

/** Meters of what is left. What only a use would tell, the same check tells, which counts nothing. */
function Limits({ of: key }: { of: Key }) {
  const { rate_limit: limit, credits } = key
  // Without an address that is allowed the check tells nothing of limits.
  const ip = key.allowed_ips?.[0]?.replace(/\/.*/, '')
  const check = useAsk(['keys', key.id, 'limits'], (api) =>
    api.keys({ id: key.id }).check.post({ cost: 0, ...(ip !== undefined && { ip }) }),
  ).data
  const { rate_limit: rate, owner_rate_limit: ownerRate, owner_credits: ownerCredits } = check ?? {}
  const usedUp = check?.code === 'RATE_LIMITED' ? check.limited_by : null
  return (
    <>
      {limit && (
        <Meter
          label={words.rate(formatSeconds(limit.window_seconds))}
          value={usedUp === 'key' ? 0 : rate ? leftIn(rate) : limit.limit}
          max={limit.limit}
        />
      )}
      {credits && <CreditsMeter of={credits} />}
      {!limit && !credits && <p className="quiet">{words.noLimits}</p>}
      {(ownerRate || ownerCredits || usedUp === 'owner') && (
        <>
          <p>
            {texts.limits.sharedWith} <Owner of={key} />
          </p>
          {usedUp === 'owner' && <p>{texts.why.limitedBy.owner}</p>}
          {ownerRate && (
            <Meter label={texts.limits.ownerRate} value={leftIn(ownerRate)} max={ownerRate.limit} />
          )}
          {ownerCredits && <Facts of={[[texts.limits.ownerCredits, formatNumber(ownerCredits.remaining)]]} />}
        </>
      )}
    </>
  )
}

/** The check says what its use would leave, which is not made. */
const leftIn = ({ remaining }: { remaining: number }) => remaining + 1

/** What the person did with a key of theirs: the trail of everybody is for admins and support. */
function OwnEvents({ of: id }: { of: string }) {
  const activity = useAsk(['activity', 'last'], (api) => api.auth.activity.get({ query: { limit: 100 } }))
  return (
    <Card title={words.own}>
      <Loaded of={activity}>
        {({ items }) => {
          const events = items.filter(({ target }) => target.id === id)
          return events.length === 0 ? (
            <p className="quiet">{words.noOwn}</p>
          ) : (
            <AuditTable label={words.own} events={events} />
          )
        }}
      </Loaded>
    </Card>
  )
}

function Usage({ of: { id } }: { of: Key }) {
  const [range] = useRange()
  const { bucket } = RANGES[range]
  const usage = useAsk(['keys', id, 'usage', range], (api) =>
    api.keys({ id }).usage.get({ query: { from: startOf(range), bucket } }),
  )
  return (
    <Loaded of={usage}>
      {({ items }) => <Chart label={words.usage} buckets={bucketsOf(range, items)} />}
    </Loaded>
  )
}

function Refusals({ of: { id } }: { of: Key }) {
  const refusals = useAsk(['keys', id, 'refusals'], (api) => api.keys({ id }).refusals.get())
  return (
    <Card title={words.refusals}>
      <Loaded of={refusals}>
        {({ items, sampled }) =>
          items.length === 0 ? (
            <p className="quiet">{words.noRefusals}</p>
          ) : (
            <>
              {sampled && <p className="quiet">{words.sampled}</p>}
              <Table<Refused>
                label={words.refusals}
                rows={items}
                idOf={({ at, outcome, ip }) => `${at} ${outcome} ${ip}`}
                columns={[
                  { head: texts.audit.when, cell: ({ at }) => <Time at={at} /> },
                  { head: words.why, cell: ({ outcome }) => texts.why.checks[outcome].failed },
                  { head: texts.audit.address, cell: ({ ip }) => ip },
                  { head: words.count, cell: ({ count }) => formatNumber(count), isNumber: true },
                ]}
              />
            </>
          )
        }
      </Loaded>
    </Card>
  )
}

function Secrets({ of: key }: { of: Key }) {
  const isRotating = key.secrets.length > 1
  return (
    <>
      {isRotating && <p>{words.rotating}</p>}
      <Table
        label={words.secrets}
        rows={key.secrets}
        idOf={({ id }) => id}
        columns={[
          { head: words.secret, cell: ({ start }) => <code>{start}…</code> },
          { head: texts.keys.created, cell: ({ created_at }) => <Time at={created_at} /> },
          {
            head: texts.keys.lastUsed,
            cell: ({ last_used_at }) => <Time at={last_used_at} none={texts.keys.neverUsed} />,
          },
          { head: words.ends, cell: ({ expires_at }) => <Time at={expires_at} none={words.withKey} /> },
          ...(isRotating
            ? [
                {
                  head: words.end,
                  cell: (secret: Key['secrets'][number]) => (
                    <Confirm
                      button={words.endNow}
                      title={words.endTitle(secret.start)}
                      isPlain
                      act={() =>
                        ask((api) => api.keys({ id: key.id }).secrets({ secret: secret.id }).delete())
                      }
                      done={words.ended}
                    >
                      <p>{secret.expires_at === null ? words.endNewLead : words.endOldLead}</p>
                    </Confirm>
                  ),
                },
              ]
            : []),
        ]}
      />
    </>
  )
}
