import { useState } from 'react'
import { useSearchParams } from 'wouter'
import { AuditTable } from '../components/audit-table.tsx'
import { Empty } from '../components/empty.tsx'
import { ExportCsv } from '../components/export-csv.tsx'
import { Check, Field, Select } from '../components/field.tsx'
import { Form, textIn } from '../components/form.tsx'
import { List } from '../components/list.tsx'
import { Page } from '../components/page.tsx'
import { ask, useChange, usePages } from '../lib/api.ts'
import { formatInput } from '../lib/format.ts'
import { isAdmin, useMe } from '../lib/me.ts'
import { asRefusal, Refusal } from '../lib/refusal.ts'
import type { AuditEvent, AuditQuery } from '../lib/types.ts'
import { texts } from '../texts.ts'

const NAMES = ['actor', 'action', 'target', 'outcome', 'request_id', 'from', 'to'] as const
const REFRESH_MS = 5_000
const IS_WIDE = matchMedia('(width >= 640px)')
const { audit: words } = texts

/** Who did what, to whom, when; newest first. The filter is in the URL. */
export function AuditPage() {
  const [params, setParams] = useSearchParams()
  const me = useMe()
  const [isFollowing, setFollowing] = useState(false)
  const filter: Partial<Record<(typeof NAMES)[number], string>> = Object.fromEntries(
    NAMES.flatMap((name) => (params.get(name) ? [[name, params.get(name)]] : [])),
  )
  // On a phone the filter would hide what it lists.
  const [isOpen, setOpen] = useState(() => IS_WIDE.matches || Object.keys(filter).length > 0)
  const events = usePages<AuditEvent>(
    ['audit', filter],
    (cursor) => ask((api) => api.audit.get({ query: { ...filter, ...cursor } as AuditQuery })),
    { first: params.get('cursor') ?? '', refetchInterval: isFollowing ? REFRESH_MS : false },
  )
  // What the API says of the filter stands at the field that it means.
  const refusal = events.error && asRefusal(events.error)
  const refusedFilter = refusal && refusal.fields.length > 0 ? refusal : null
  const apply = useChange(async (fields: FormData) => {
    const next = new URLSearchParams()
    for (const name of NAMES) {
      const text = textIn(fields, name)
      if (text !== undefined) next.set(name, await parameterOf(name, text))
    }
    setParams(next)
  })
  return (
    <Page
      title={texts.pages.audit}
      lead={words.lead}
      actions={
        <>
          <Check
            label={words.follow}
            checked={isFollowing}
            onChange={({ target }) => setFollowing(target.checked)}
          />
          <button type="button" className="plain" onClick={() => void events.refetch()}>
            {words.refresh}
          </button>
          {isAdmin(me) && <ExportCsv path="/audit" query={filter} name="audit" />}
        </>
      }
    >
      <details className="card" open={isOpen} onToggle={({ currentTarget }) => setOpen(currentTarget.open)}>
        <summary>{words.filter}</summary>
        <Form
          key={params.toString()}
          button={words.apply}
          isPending={apply.isPending}
          error={apply.error ?? refusedFilter}
          onSubmit={(fields) => apply.mutate(fields)}
        >
          <div className="row">
            <Field
              label={words.actor}
              name="actor"
              path="?actor"
              hint={words.actorHint}
              defaultValue={filter.actor}
              autoComplete="off"
            />
            <Field
              label={words.action}
              name="action"
              path="?action"
              placeholder="key.revoked"
              defaultValue={filter.action}
            />
            <Field
              label={words.target}
              name="target"
              path="?target"
              hint={words.targetHint}
              defaultValue={filter.target}
            />
            <Select
              label={words.outcome}
              name="outcome"
              path="?outcome"
              defaultValue={filter.outcome ?? ''}
              options={Object.entries(words.outcomes)}
            />
            <Field
              label={words.requestId}
              name="request_id"
              path="?request_id"
              defaultValue={filter.request_id}
              autoComplete="off"
            />
            <Field
              label={words.from}
              name="from"
              path="?from"
              type="datetime-local"
              defaultValue={formatInput(filter.from)}
            />
            <Field
              label={words.to}
              name="to"
              path="?to"
              type="datetime-local"
              defaultValue={formatInput(filter.to)}
            />
          </div>
        </Form>
      </details>
      <List
        of={refusedFilter ? { ...events, error: null, data: events.data ?? [] } : events}
        empty={
          <Empty title={words.none}>
            <p>{words.noneLead}</p>
          </Empty>
        }
      >
        {(rows) => <AuditTable label={texts.pages.audit} events={rows} />}
      </List>
    </Page>
  )
}

/** What the API takes: an id for an address, a time in UTC for a local one. */
async function parameterOf(name: (typeof NAMES)[number], text: string): Promise<string> {
  if (name === 'from' || name === 'to') return new Date(text).toISOString()
  if (name !== 'actor' || !text.includes('@')) return text
  const { items } = await ask((api) => api.users.get({ query: { query: text, limit: 2 } }))
  const [user] = items
  if (items.length !== 1 || !user) throw new Refusal(0, 'unknown', words.unknownActor(text))
  return user.id
}
