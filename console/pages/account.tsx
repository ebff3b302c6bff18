import { AuditTable } from '../components/audit-table.tsx'
import { Confirm } from '../components/confirm.tsx'
import { Facts } from '../components/facts.tsx'
import { Check, Field } from '../components/field.tsx'
import { Form, textIn } from '../components/form.tsx'
import { GrantTable } from '../components/grant-table.tsx'
import { Scopes } from '../components/key-cells.tsx'
import { List } from '../components/list.tsx'
import { Card, Deed, Page } from '../components/page.tsx'
import { SecondFactors } from '../components/second-factors.tsx'
import { SessionTable } from '../components/session-table.tsx'
import { Time } from '../components/time.tsx'
import { ask, useChange, usePages } from '../lib/api.ts'
import { useMe } from '../lib/me.ts'
import { HAS_APPS } from '../lib/place.ts'
import { leaveSignedOut, post, takeToken } from '../lib/session.ts'
import type { AuditEvent, Grant, Me, Session } from '../lib/types.ts'
import { texts } from '../texts.ts'

const { account: words } = texts
const ACTIVITY_LIMIT = 20

/** The person's own account: who they are, their password and their sessions. */
export function AccountPage() {
  const me = useMe()
  return (
    <Page title={texts.pages.account} lead={me?.email}>
      <div className="columns">
        <Card title={words.you}>
          {me && (
            <>
              <Facts
                of={[
                  [texts.fields.email, <bdi key="email">{me.email}</bdi>],
                  [words.verified, me.email_verified ? words.yes : words.no],
                  [words.role, texts.roles[me.role]],
                  [texts.keys.scopes, <Scopes key="scopes" scopes={me.scopes} />],
                  [words.since, <Time key="since" at={me.created_at} isExact />],
                ]}
              />
              <Address of={me} />
            </>
          )}
        </Card>
        <Card title={words.password}>
          <Password />
        </Card>
      </div>
      <SecondFactors />
      <Sessions />
      {HAS_APPS && <ConnectedApps />}
      <Activity />
      {me && <DeleteAccount of={me} />}
    </Page>
  )
}

/** The password, where the person has one: the API asks for it where it has to be given. */
const passwordIn = (fields: FormData) => {
  const current = fields.get('current')
  return typeof current === 'string' && current !== '' ? { current_password: current } : {}
}

const CurrentPassword = () => (
  <Field
    label={texts.fields.currentPassword}
    hint={texts.fields.currentPasswordHint}
    name="current"
    path="/current_password"
    type="password"
    autoComplete="current-password"
  />
)

/** The address changes once its owner has proved it. */
function Address({ of: me }: { of: Me }) {
  return (
    <div className="actions">
      <Confirm
        button={words.changeAddress}
        title={words.changeAddress}
        isDangerous={false}
        isPlain
        act={(fields) => {
          const email = textIn(fields, 'email') ?? ''
          return ask((api) => api.auth.email.post({ email, ...passwordIn(fields) }))
        }}
        done={words.addressSent}
      >
        <p>{words.changeAddressLead}</p>
        <Field
          label={words.newAddress}
          name="email"
          path="/email"
          type="email"
          autoComplete="email"
          required
        />
        <CurrentPassword />
      </Confirm>
      {!me.email_verified && (
        <Confirm
          button={words.sendVerification}
          title={words.sendVerification}
          isDangerous={false}
          isPlain
          act={() => ask((api) => api.auth['verify-email'].resend.post({ email: me.email }))}
          done={words.verificationSent}
        >
          <p>{words.sendVerificationLead(me.email)}</p>
        </Confirm>
      )}
    </div>
  )
}

/** The apps that act for the person. */
function ConnectedApps() {
  const grants = usePages<Grant>(['grants'], (cursor) => ask((api) => api.auth.grants.get({ query: cursor })))
  return (
    <Card title={texts.grants.title}>
      <p className="quiet">{texts.grants.lead}</p>
      <List of={grants} none={texts.grants.none}>
        {(rows) => (
          <GrantTable
            grants={rows}
            end={(id, options) => ask((api) => api.auth.grants({ id }).delete(undefined, options))}
          />
        )}
      </List>
    </Card>
  )
}

/** What the person did, and what was done to them: the part of the audit trail that is theirs. */
function Activity() {
  const events = usePages<AuditEvent>(['activity'], (cursor) =>
    ask((api) => api.auth.activity.get({ query: { ...cursor, limit: ACTIVITY_LIMIT } })),
  )
  return (
    <Card title={words.activity}>
      <p className="quiet">{words.activityLead}</p>
      <List of={events} none={words.noActivity}>
        {(rows) => <AuditTable label={words.activity} events={rows} />}
      </List>
    </Card>
  )
}

function DeleteAccount({ of: me }: { of: Me }) {
  return (
    <Card title={words.forGood}>
      <Deed lead={words.deleteLead}>
        <Confirm
          button={words.deleteOwn}
          title={words.deleteTitle}
          word={me.email}
          isPlain
          act={(fields) => ask((api) => api.auth.me.delete(passwordIn(fields)))}
          onDone={leaveSignedOut}
        >
          <p>{words.deleteLead}</p>
          <CurrentPassword />
        </Confirm>
      </Deed>
    </Card>
  )
}

function Password() {
  const change = useChange(
    async (fields: FormData) => {
      const issued = await post('/session/password', {
        ...passwordIn(fields),
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
      <CurrentPassword />
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
