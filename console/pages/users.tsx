import { useState } from 'react'
import { Link, useLocation } from 'wouter'
import { Badge } from '../components/badge.tsx'
import { Dialog } from '../components/dialog.tsx'
import { Empty } from '../components/empty.tsx'
import { Check, Field, Select } from '../components/field.tsx'
import { SearchField } from '../components/filters.tsx'
import { Form, textIn } from '../components/form.tsx'
import { List } from '../components/list.tsx'
import { Page } from '../components/page.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { ask, askWhole, NO_PAGE, useChange, usePages } from '../lib/api.ts'
import { isTruncated } from '../lib/keys.ts'
import { isAdmin, useMe } from '../lib/me.ts'
import { useParam } from '../lib/params.ts'
import type { NewUserInput, User } from '../lib/types.ts'
import { texts } from '../texts.ts'

const { users: words } = texts

/** All users, found by the beginning of their address. */
export function UsersPage() {
  const me = useMe()
  const [query] = useParam('query')
  const [first] = useParam('cursor')
  const users = usePages<User>(
    ['users', { query }],
    async (cursor) => {
      const asked = { ...cursor, ...(query.length > 1 && { query }) }
      const { data, response } = await askWhole((api) => api.users.get({ query: asked }))
      return { ...(data ?? NO_PAGE), isTruncated: isTruncated(response) }
    },
    { first },
  )
  return (
    <Page title={texts.pages.users} lead={words.lead} actions={isAdmin(me) && <NewUser />}>
      <div className="filters">
        <SearchField hint={words.searchHint} />
      </div>
      <List
        of={users}
        empty={
          <Empty title={words.none}>
            <p>{words.noneLead}</p>
          </Empty>
        }
      >
        {(rows) => (
          <Table<User>
            label={texts.pages.users}
            rows={rows}
            idOf={({ id }) => id}
            columns={[
              {
                head: texts.fields.email,
                cell: ({ id, email }) => (
                  <Link href={`/users/${id}`} className="name">
                    <bdi>{email}</bdi>
                  </Link>
                ),
              },
              { head: words.role, cell: ({ role }) => texts.roles[role] },
              {
                head: words.state,
                cell: ({ is_active }) => <Badge state={is_active ? 'active' : 'disabled'} />,
              },
              { head: words.verified, cell: ({ email_verified }) => (email_verified ? words.yes : words.no) },
              { head: texts.keys.created, cell: ({ created_at }) => <Time at={created_at} /> },
            ]}
          />
        )}
      </List>
    </Page>
  )
}

function NewUser() {
  const [isOpen, setOpen] = useState(false)
  const [access, setAccess] = useState<keyof typeof words.accesses>('invite')
  const [, navigate] = useLocation()
  const change = useChange((input: NewUserInput) => ask((api) => api.users.post(input)), {
    onDone: ({ id }) => navigate(`/users/${id}`),
  })
  const submit = (fields: FormData) => {
    const password = fields.get('password')
    change.mutate({
      email: textIn(fields, 'email') ?? '',
      role: fields.get('role') === 'admin' ? 'admin' : 'user',
      ...(fields.has('email_verified') && { email_verified: true }),
      ...(access === 'invite' && { invite: true }),
      ...(typeof password === 'string' && { password }),
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
              label={texts.fields.email}
              name="email"
              path="/email"
              type="email"
              required
              autoComplete="off"
            />
            <Select label={words.role} name="role" path="/role" options={Object.entries(texts.roles)} />
            <Select
              label={words.access}
              path="/invite"
              value={access}
              onChange={({ target }) => setAccess(target.value as typeof access)}
              options={Object.entries(words.accesses)}
            />
            {access === 'password' && (
              <Field
                label={texts.fields.password}
                name="password"
                path="/password"
                type="password"
                autoComplete="new-password"
                required
              />
            )}
            {access !== 'invite' && <Check label={words.isVerified} name="email_verified" />}
          </Form>
        </Dialog>
      )}
    </>
  )
}
