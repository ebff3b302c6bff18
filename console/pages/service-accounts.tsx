import { useState } from 'react'
import { useLocation } from 'wouter'
import { AccountTable } from '../components/account-table.tsx'
import { Dialog } from '../components/dialog.tsx'
import { Empty } from '../components/empty.tsx'
import { Field, TextArea } from '../components/field.tsx'
import { SearchField } from '../components/filters.tsx'
import { Form, textIn } from '../components/form.tsx'
import { List } from '../components/list.tsx'
import { Page } from '../components/page.tsx'
import { ScopeChoice, scopesIn } from '../components/scopes.tsx'
import { ask, askWhole, NO_PAGE, useChange, usePages } from '../lib/api.ts'
import { isTruncated } from '../lib/keys.ts'
import { useParam } from '../lib/params.ts'
import { API_URL } from '../lib/place.ts'
import type { ServiceAccount } from '../lib/types.ts'
import { texts } from '../texts.ts'

const { accounts: words } = texts

/** The service accounts that the person manages; an admin sees all. */
export function ServiceAccountsPage() {
  const [query] = useParam('query')
  const [first] = useParam('cursor')
  const accounts = usePages<ServiceAccount>(
    ['service-accounts', { query }],
    async (cursor) => {
      const asked = { ...cursor, ...(query.length > 1 && { query }) }
      const { data, response } = await askWhole((api) => api['service-accounts'].get({ query: asked }))
      return { ...(data ?? NO_PAGE), isTruncated: isTruncated(response) }
    },
    { first },
  )
  return (
    <Page title={texts.pages['service-accounts']} lead={words.lead} actions={<NewAccount />}>
      <div className="filters">
        <SearchField hint={words.searchHint} />
      </div>
      <List of={accounts} empty={query === '' ? <FirstAccount /> : <Empty title={words.noneFound} />}>
        {(rows) => <AccountTable label={texts.pages['service-accounts']} accounts={rows} />}
      </List>
    </Page>
  )
}

function FirstAccount() {
  const command = `curl -X POST ${API_URL}/service-accounts \\
  -H "Authorization: Bearer $ACCESS_TOKEN" \\
  -H "Content-Type: application/json" \\
  -d '{"name": "nightly-report", "scopes": "read"}'`
  return (
    <Empty title={words.none} command={command}>
      <p>{words.firstLead}</p>
      <p className="quiet">{words.firstByApi}</p>
    </Empty>
  )
}

function NewAccount() {
  const [isOpen, setOpen] = useState(false)
  const [, navigate] = useLocation()
  const change = useChange(
    (input: { name: string; description?: string; scopes: string[] }) =>
      ask((api) => api['service-accounts'].post(input)),
    { onDone: ({ id }) => navigate(`/service-accounts/${id}`) },
  )
  const submit = (fields: FormData) => {
    const description = textIn(fields, 'description')
    change.mutate({
      name: textIn(fields, 'name') ?? '',
      scopes: scopesIn(fields),
      ...(description !== undefined && { description }),
    })
  }
  return (
    <>
      <button type="button" onClick={() => setOpen(true)}>
        {texts.actions.create}
      </button>
      {isOpen && (
        <Dialog title={words.newTitle} onClose={() => setOpen(false)}>
          <Form
            button={texts.actions.create}
            isPending={change.isPending}
            error={change.error}
            onSubmit={submit}
            onCancel={() => setOpen(false)}
          >
            <Field
              label={texts.fields.name}
              name="name"
              path="/name"
              required
              maxLength={100}
              autoComplete="off"
            />
            <TextArea label={texts.fields.description} name="description" path="/description" />
            <ScopeChoice chosen={[]} />
          </Form>
        </Dialog>
      )}
    </>
  )
}
