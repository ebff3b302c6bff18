import { Confirm } from '../components/confirm.tsx'
import { Facts } from '../components/facts.tsx'
import { Check, Field } from '../components/field.tsx'
import { Form } from '../components/form.tsx'
import { Scopes } from '../components/key-cells.tsx'
import { List } from '../components/list.tsx'
import { Card, Page } from '../components/page.tsx'
import { SecondFactors } from '../components/second-factors.tsx'
import { SessionTable } from '../components/session-table.tsx'
import { Time } from '../components/time.tsx'
import { ask, useChange, usePages } from '../lib/api.ts'
import { useMe } from '../lib/me.ts'
import { leaveSignedOut, post, takeToken } from '../lib/session.ts'
import type { Session } from '../lib/types.ts'
import { texts } from '../texts.ts'

const { account: words } = texts

/** The person's own account: who they are, their password and their sessions. */
export function AccountPage() {
  const me = useMe()
  return (
    <Page title={texts.pages.account} lead={me?.email}>
      <div className="columns">
        <Card title={words.you}>
          {me && (
            <Facts
              of={[
                [texts.fields.email, <bdi key="email">{me.email}</bdi>],
                [words.verified, me.email_verified ? words.yes : words.no],
                [words.role, texts.roles[me.role]],
                [texts.keys.scopes, <Scopes key="scopes" scopes={me.scopes} />],
                [words.since, <Time key="since" at={me.created_at} isExact />],
              ]}
            />
          )}
        </Card>
        <Card title={words.password}>
          <Password />
        </Card>
      </div>
      <SecondFactors />
      <Sessions />
    </Page>
  )
}

function Password() {
  const change = useChange(
    async (fields: FormData) => {
      const issued = await post('/session/password', {
        current_password: fields.get('current'),
        new_password: fields.get('new'),
        ...(fields.has('revoke_keys') && { revoke_keys: true }),
      })
      takeToken(issued as Parameters<typeof takeToken>[0])
    },
    { done: words.passwordChanged },
  )
  return (
    <Form
      key={change.submittedAt}
      button={words.changePassword}
      isPending={change.isPending}
      error={change.error}
      onSubmit={(fields) => change.mutate(fields)}
    >
      <Field
        label={words.currentPassword}
        name="current"
        path="/current_password"
        type="password"
        autoComplete="current-password"
        required
      />
      <Field
        label={words.newPassword}
        hint={words.passwordHint}
        name="new"
        path="/new_password"
        type="password"
        autoComplete="new-password"
        required
      />
      <Check label={words.revokeKeys} hint={words.revokeKeysHint} name="revoke_keys" />
    </Form>
  )
}

function Sessions() {
  const sessions = usePages<Session>(['sessions'], (cursor) =>
    ask((api) => api.auth.sessions.get({ query: cursor })),
  )
  return (
    <Card
      title={words.sessions}
      actions={
        <Confirm
          button={words.endAll}
          title={words.endAllTitle}
          isPlain
          act={() => ask((api) => api.auth['logout-all'].post())}
          onDone={leaveSignedOut}
        >
          <p>{words.endAllLead}</p>
        </Confirm>
      }
    >
      <List of={sessions} none={words.noSessions}>
        {(rows) => (
          <SessionTable sessions={rows} end={(id) => ask((api) => api.auth.sessions({ id }).delete())} />
        )}
      </List>
    </Card>
  )
}
