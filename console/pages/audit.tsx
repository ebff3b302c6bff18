import { useState } from 'react'
import { useSearchParams } from 'wouter'
import { AuditTable } from '../components/audit-table.tsx'
import { Check, Field, Select } from '../components/field.tsx'
import { Form, textIn } from '../components/form.tsx'
import { List } from '../components/list.tsx'
import { Card, Page } from '../components/page.tsx'
import { ask, useChange, usePages } from '../lib/api.ts'
import { formatInput } from '../lib/format.ts'
import { Refusal } from '../lib/refusal.ts'
import type { AuditEvent, AuditQuery } from '../lib/types.ts'
import { texts } from '../texts.ts'

const NAMES = ['actor', 'action', 'target', 'outcome', 'request_id', 'from', 'to'] as const
const REFRESH_MS = 5_000
const { audit: words } = texts

/** Who did what, to whom, when; newest first. The filter is in the URL. */
export function AuditPage() {
  const [params, setParams] = useSearchParams()
  const [isFollowing, setFollowing] = useState(false)
  const filter: Partial<Record<(typeof NAMES)[number], string>> = Object.fromEntries(
    NAMES.flatMap((name) => (params.get(name) ? [[name, params.get(name)]] : [])),
  )
  const events = usePages<AuditEvent>(
    ['audit', filter],
    (cursor) => ask((api) => api.audit.get({ query: { ...filter, ...cursor } as AuditQuery })),
    { refetchInterval: isFollowing ? REFRESH_MS : false },
  )
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
        </>
      }
    >
      <Card>
        <Form
          key={params.toString()}
          button={words.apply}
          isPending={apply.isPending}
          error={apply.error}
          onSubmit={(fields) => apply.mutate(fields)}
        >
          <div className="row">
            <Field
              label={words.actor}
              name="actor"
              hint={words.actorHint}
              defaultValue={filter.actor}
              autoComplete="off"
            />
            <Field
              label={words.action}
              name="action"
              placeholder="key.revoked"
              defaultValue={filter.action}
            />
            <Field label={words.target} name="target" hint={words.targetHint} defaultValue={filter.target} />
            <Select
              label={words.outcome}
              name="outcome"
              defaultValue={filter.outcome ?? ''}
              options={Object.entries(words.outcomes)}
            />
            <Field
              label={words.requestId}
              name="request_id"
              defaultValue={filter.request_id}
              autoComplete="off"
            />
            <Field
              label={words.from}
              name="from"
              type="datetime-local"
              defaultValue={formatInput(filter.from)}
            />
            <Field label={words.to} name="to" type="datetime-local" defaultValue={formatInput(filter.to)} />
          </div>
        </Form>
      </Card>
      <List of={events} none={words.none}>
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
