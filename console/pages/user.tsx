import { useState } from 'react'
import { useLocation } from 'wouter'
import { AccountTable } from '../components/account-table.tsx'
import { Activity } from '../components/badge.tsx'
import { Confirm } from '../components/confirm.tsx'
import { Copy } from '../components/copy.tsx'
import { Dialog } from '../components/dialog.tsx'
import { Edit } from '../components/edit.tsx'
import { Command } from '../components/empty.tsx'
import { Facts } from '../components/facts.tsx'
import { Check, Field, Select } from '../components/field.tsx'
import { Form, textIn } from '../components/form.tsx'
import { GrantTable } from '../components/grant-table.tsx'
import { Scopes } from '../components/key-cells.tsx'
import { KeyTable } from '../components/key-table.tsx'
import { OwnerLimits } from '../components/limits.tsx'
import { List } from '../components/list.tsx'
import { Loaded } from '../components/loaded.tsx'
import { notify } from '../components/notices.tsx'
import { OwnerUsage } from '../components/owner-usage.tsx'
import { Card, Deed, Page } from '../components/page.tsx'
import { RecentAudit } from '../components/recent-audit.tsx'
import { RevokeOfOwner } from '../components/revoke-many.tsx'
import { ScopeChoice, scopesIn } from '../components/scopes.tsx'
import { SessionTable } from '../components/session-table.tsx'
import { Tabs } from '../components/tabs.tsx'
import { Time } from '../components/time.tsx'
import { ask, useAsk, useChange, usePages } from '../lib/api.ts'
import { formatCount, formatLocal, formatNumber } from '../lib/format.ts'
import { useKeys } from '../lib/keys.ts'
import { isAdmin, useMe } from '../lib/me.ts'
import { HAS_APPS, PATH } from '../lib/place.ts'
import type { Grant, Me, ServiceAccount, Session, User, UserDetail, UserPatch } from '../lib/types.ts'
import { texts } from '../texts.ts'

const { user: words } = texts
/** The service accounts that only this user manages end with the user. */
const WITH_ACCOUNTS = { query: { service_accounts: 'disable' } } as const

/** Whether the signed-in person may act on a user as support does. Admins may on every user, support on all but admins. */
const mayCutOff = (user: User, me: Me | undefined) =>
  user.id !== me?.id && (isAdmin(me) || user.role !== 'admin')

/** One user: what they are, what they have, and what may be done. */
export function UserPage({ id }: { id: string }) {
  const user = useAsk(['users', id], (api) => api.users({ id }).get())
  const keys = useKeys({ user_id: id })
  const me = useMe()
  const found = user.data
  return (
    <Page
      title={found?.email ?? (user.error ? texts.errors.title : texts.loading)}
      lead={found && <Activity isActive={found.is_active} words={words} />}
      actions={found && <Actions of={found} />}
    >
      <Loaded of={user}>
        {(present) => (
          <div className="columns">
            <Card title={texts.key.about}>
              <Facts
                of={[
                  [texts.users.role, texts.roles[present.role]],
                  [texts.users.verified, present.email_verified ? texts.users.yes : texts.users.no],
                  [
                    words.ceiling,
                    present.role === 'admin' ? (
                      words.noCeiling
                    ) : present.scopes === null ? (
                      words.defaultCeiling
                    ) : (
                      <Scopes key="scopes" scopes={present.scopes} />
                    ),
                  ],
                  [
                    words.has,
                    [
                      formatCount(present.counts.keys, 'live key'),
                      formatCount(present.counts.service_accounts, 'service account'),
                    ].join(', '),
                  ],
                  [texts.account.since, <Time key="since" at={present.created_at} />],
                  [
                    texts.keys.id,
                    <span key="id" className="copied">
                      <code>{present.id}</code> <Copy text={present.id} label={texts.keys.copyId} />
                    </span>,
                  ],
                ]}
              />
            </Card>
            <SignIn of={present} />
          </div>
        )}
      </Loaded>
      {found && <OwnerLimits of={found} kind="users" />}
      <Tabs
        label={words.parts}
        tabs={[
          {
            name: 'keys',
            text: texts.keys.title,
            content: (
              <List of={keys} none={words.noKeys}>
                {(rows) => <KeyTable label={texts.keys.title} keys={rows} />}
              </List>
            ),
          },
          { name: 'sessions', text: texts.account.sessions, content: <Sessions of={id} /> },
          {
            name: 'service-accounts',
            text: texts.pages['service-accounts'],
            content: <Accounts of={id} />,
          },
          ...(HAS_APPS && isAdmin(me)
            ? [{ name: 'grants', text: texts.grants.title, content: <ConnectedApps of={id} /> }]
            : []),
          {
            name: 'usage',
            text: texts.key.usage,
            content: (
              <Card>
                <OwnerUsage of={{ user_id: id }} />
              </Card>
            ),
          },
          { name: 'audit', text: words.done, content: <RecentAudit of={id} by="actor" /> },
          { name: 'about', text: words.happened, content: <RecentAudit of={id} /> },
        ]}
      />
      {found && <ForGood of={found} />}
    </Page>
  )
}

/** How the user signs in, and what helps a user who cannot. */
function SignIn({ of: user }: { of: UserDetail }) {
  const me = useMe()
  const { id, mfa, counts } = user
  const isOther = id !== me?.id
  const factors = [
    ...(mfa.totp ? [words.app] : []),
    ...(mfa.passkeys > 0 ? [formatCount(mfa.passkeys, 'passkey')] : []),
  ]
  return (
    <Card title={words.signIn}>
      <Facts
        of={[
          [words.lastLogin, <Time key="login" at={user.last_login_at} none={texts.keys.neverUsed} />],
          [texts.account.sessions, formatNumber(counts.sessions)],
          [words.factors, factors.length === 0 ? words.noFactors : factors.join(', ')],
          [texts.factors.codes, factors.length === 0 ? null : words.codes(String(mfa.recovery_codes_left))],
        ]}
      />
      <div className="actions">
        {mayCutOff(user, me) && (
          <Confirm
            button={words.endSessions}
            title={words.endSessionsTitle}
            isPlain
            act={() => ask((api) => api.users({ id }).logout.post())}
            done={words.sessionsEnded}
          >
            <p>{words.endSessionsLead}</p>
          </Confirm>
        )}
        {isAdmin(me) && isOther && (
          <>
            <ResetPassword of={user} />
            {user.last_login_at === null && (
              <Confirm
                button={words.inviteAgain}
                title={words.inviteAgainTitle}
                isDangerous={false}
                isPlain
                act={() => ask((api) => api.users({ id }).invite.post())}
                done={words.invited}
              >
                <p>{words.inviteAgainLead(user.email)}</p>
              </Confirm>
            )}
            <Confirm
              button={words.unlock}
              title={words.unlockTitle}
              isDangerous={false}
              isPlain
              act={() => ask((api) => api.users({ id }).unlock.post())}
              done={words.unlocked}
            >
              <p>{words.unlockLead}</p>
            </Confirm>
            {factors.length > 0 && (
              <Confirm
                button={words.removeFactors}
                title={words.removeFactorsTitle}
                isPlain
                act={() => ask((api) => api.users({ id }).mfa.delete())}
                done={words.factorsRemoved}
              >
                <p>{words.removeFactorsLead}</p>
              </Confirm>
            )}
          </>
        )}
      </div>
    </Card>
  )
}

function Actions({ of: user }: { of: UserDetail }) {
  const me = useMe()
  const { id } = user
  const live = formatCount(user.counts.keys, 'key')
  // Their own account is the matter of the page Account.
  if (id === me?.id) return null
  return (
    <>
      {isAdmin(me) && (
        <>
          <EditUser of={user} />
          {!user.is_active && (
            <Confirm
              button={texts.actions.enable}
              title={words.enableTitle}
              isDangerous={false}
              isPlain
              act={() => ask((api) => api.users({ id }).patch({ is_active: true }))}
              done={words.enabled}
            >
              <p>{words.enableLead(live)}</p>
            </Confirm>
          )}
        </>
      )}
      {user.is_active && mayCutOff(user, me) && (
        <Confirm
          button={texts.actions.cutOff}
          title={words.cutOffTitle}
          act={(fields) =>
            ask((api) =>
              api
                .users({ id })
                .patch({ is_active: false }, fields.has('accounts') ? WITH_ACCOUNTS : { query: {} }),
            )
          }
          done={words.cutOff}
        >
          <p>{words.cutOffLead(live, formatCount(user.counts.service_accounts, 'service account'))}</p>
          <Check label={words.withAccounts} name="accounts" />
          <p>{words.cutOffUndo}</p>
        </Confirm>
      )}
    </>
  )
}

/** Changes that cannot be undone. They stand at the end of the page, so that they are not clicked in a hurry. */
function ForGood({ of: user }: { of: UserDetail }) {
  const me = useMe()
  const { id } = user
  const [, navigate] = useLocation()
  if (!mayCutOff(user, me)) return null
  return (
    <Card title={words.forGood}>
      <Deed lead={isAdmin(me) ? words.forGoodLead : words.forGoodOne}>
        <div className="actions">
          <RevokeOfOwner
            selector={{ user_id: id }}
            name={user.email}
            disable={() => ask((api) => api.users({ id }).patch({ is_active: false }))}
          />
          {isAdmin(me) && (
            <Confirm
              button={texts.actions.delete}
              title={words.deleteTitle}
              word={user.email}
              isPlain
              act={(fields) =>
                ask((api) =>
                  api.users({ id }).delete(undefined, fields.has('accounts') ? WITH_ACCOUNTS : { query: {} }),
                )
              }
              done={words.deleted}
              onDone={() => navigate('/users')}
            >
              <p>{words.deleteLead(formatCount(user.counts.keys, 'key'))}</p>
              <Check label={words.withAccounts} name="accounts" />
            </Confirm>
          )}
        </div>
      </Deed>
    </Card>
  )
}

/** The service accounts that a user manages. */
function Accounts({ of: user_id }: { of: string }) {
  const accounts = usePages<ServiceAccount>(['service-accounts', { user_id }], (cursor) =>
    ask((api) => api['service-accounts'].get({ query: { user_id, ...cursor } })),
  )
  return (
    <List of={accounts} none={words.noAccounts}>
      {(rows) => <AccountTable label={texts.pages['service-accounts']} accounts={rows} />}
    </List>
  )
}

function Sessions({ of: id }: { of: string }) {
  const sessions = usePages<Session>(['users', id, 'sessions'], (cursor) =>
    ask((api) => api.users({ id }).sessions.get({ query: cursor })),
  )
  return (
    <List of={sessions} none={texts.account.noSessions}>
      {(rows) => (
        <SessionTable
          sessions={rows}
          end={(sid) => ask((api) => api.users({ id }).sessions({ sid }).delete())}
        />
      )}
    </List>
  )
}

/** The apps that act for a user. */
function ConnectedApps({ of: id }: { of: string }) {
  const grants = usePages<Grant>(['users', id, 'grants'], (cursor) =>
    ask((api) => api.users({ id }).grants.get({ query: cursor })),
  )
  return (
    <List of={grants} none={texts.grants.none}>
      {(rows) => (
        <GrantTable
          grants={rows}
          end={(grant_id, options) =>
            ask((api) => api.users({ id }).grants({ grant_id }).delete(undefined, options))
          }
        />
      )}
    </List>
  )
}

function EditUser({ of: user }: { of: User }) {
  const [hasOwn, setHasOwn] = useState(user.scopes !== null)
  const save = (fields: FormData) => {
    const email = textIn(fields, 'email') ?? ''
    const role = fields.get('role') === 'admin' ? 'admin' : 'user'
    const verified = fields.has('email_verified')
    const scopes = hasOwn ? scopesIn(fields) : null
    const patch: UserPatch = {
      ...(email !== user.email && { email }),
      ...(role !== user.role && { role }),
      ...(verified !== user.email_verified && { email_verified: verified }),
      ...(JSON.stringify(scopes) !== JSON.stringify(user.scopes) && { scopes }),
    }
    return ask((api) => api.users({ id: user.id }).patch(patch))
  }
  return (
    <Edit title={words.editTitle} save={save}>
      <Field
        label={texts.fields.email}
        hint={words.emailHint}
        name="email"
        path="/email"
        type="email"
        autoComplete="off"
        required
        defaultValue={user.email}
      />
      <Select
        label={texts.users.role}
        hint={words.roleHint}
        name="role"
        path="/role"
        defaultValue={user.role}
        options={Object.entries(texts.roles)}
      />
      <Check label={texts.users.isVerified} name="email_verified" defaultChecked={user.email_verified} />
      <Check
        label={words.ownCeiling}
        hint={words.ownCeilingHint}
        checked={hasOwn}
        onChange={({ target }) => setHasOwn(target.checked)}
      />
      {hasOwn && <ScopeChoice chosen={user.scopes ?? []} />}
    </Edit>
  )
}

/** A one-time link for a new password: mailed, or for the admin to deliver, and then shown this once. */
function ResetPassword({ of: { id } }: { of: User }) {
  const [isOpen, setOpen] = useState(false)
  const change = useChange(
    (send: boolean) => ask((api) => api.users({ id })['password-reset'].post(send ? { send } : {})),
    {
      onDone: (answer) => {
        if (answer && 'token' in answer) return
        close()
        notify(words.resetMailed)
      },
    },
  )
  const close = () => {
    setOpen(false)
    change.reset()
  }
  // Where it is mailed, the answer holds no token.
  const made = change.data && 'token' in change.data ? change.data : null
  return (
    <>
      <button type="button" className="plain" onClick={() => setOpen(true)}>
        {words.reset}
      </button>
      {isOpen && (
        <Dialog title={words.resetTitle} onClose={close}>
          {made ? (
            <>
              <p>{words.resetMade(formatLocal(made.expires_at))}</p>
              <Command text={`${location.origin}${PATH}/reset-password?token=${made.token}`} />
            </>
          ) : (
            <Form
              button={words.makeReset}
              isPending={change.isPending}
              error={change.error}
              onSubmit={(fields) => change.mutate(fields.get('way') === 'mail')}
              onCancel={close}
            >
              <p>{words.resetLead}</p>
              <Select
                label={words.resetWay}
                name="way"
                path="/send"
                options={Object.entries(words.resetWays)}
              />
            </Form>
          )}
        </Dialog>
      )}
    </>
  )
}
