import { useState } from 'react'
import { Link, useLocation } from 'wouter'
import { ApiFields, apiFieldsIn } from '../components/api-fields.tsx'
import { Badge } from '../components/badge.tsx'
import { Dialog } from '../components/dialog.tsx'
import { Form, textIn } from '../components/form.tsx'
import { Scopes } from '../components/key-cells.tsx'
import { List } from '../components/list.tsx'
import { Page } from '../components/page.tsx'
import { Table } from '../components/table.tsx'
import { ask, useChange, usePages } from '../lib/api.ts'
import { useParam } from '../lib/params.ts'
import type { NewResourceInput, Resource } from '../lib/types.ts'
import { texts } from '../texts.ts'

const { apis: words } = texts

/** The APIs for which apps get access tokens. Latchkey's own is among them. */
export function ApisPage() {
  const [first] = useParam('cursor')
  const apis = usePages<Resource>(['apis'], (cursor) => ask((api) => api.resources.get({ query: cursor })), {
    first,
  })
  return (
    <Page title={texts.pages.apis} lead={words.lead} actions={<NewApi />}>
      <List of={apis}>
        {(rows) => (
          <Table<Resource>
            label={texts.pages.apis}
            rows={rows}
            idOf={({ id }) => id}
            columns={[
              {
                head: texts.fields.name,
                cell: ({ id, name, identifier }) => (
                  <>
                    <Link href={`/apis/${id}`} className="name">
                      <bdi>{name}</bdi>
                    </Link>
                    <code className="quiet">{identifier}</code>
                  </>
                ),
              },
              {
                head: words.state,
                cell: ({ is_active, is_own }) => (
                  <Badge state={is_own ? 'built_in' : is_active ? 'active' : 'disabled'} />
                ),
              },
              { head: words.slug, cell: ({ slug }) => <code>{slug}</code> },
              {
                head: texts.keys.scopes,
                cell: ({ scopes }) => <Scopes scopes={scopes.map(({ name }) => name)} />,
              },
            ]}
          />
        )}
      </List>
    </Page>
  )
}

function NewApi() {
  const [isOpen, setOpen] = useState(false)
  const [, navigate] = useLocation()
  const change = useChange((input: NewResourceInput) => ask((api) => api.resources.post(input)), {
    onDone: ({ id }) => navigate(`/apis/${id}`),
  })
  const submit = (fields: FormData) =>
    change.mutate({ ...apiFieldsIn(fields), identifier: textIn(fields, 'identifier') ?? '' })
  return (
    <>
      <button type="button" onClick={() => setOpen(true)}>
        {words.new}
      </button>
      {isOpen && (
        <Dialog title={words.new} onClose={() => setOpen(false)}>
          <Form
            button={texts.actions.create}
            isPending={change.isPending}
            error={change.error}
            onSubmit={submit}
            onCancel={() => setOpen(false)}
          >
            <ApiFields />
          </Form>
        </Dialog>
      )}
    </>
  )
}
