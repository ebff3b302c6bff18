import { useState } from 'react'
import { Link, useLocation } from 'wouter'
import { Badge } from '../components/badge.tsx'
import { Confirm } from '../components/confirm.tsx'
import { Copy } from '../components/copy.tsx'
import { Dialog } from '../components/dialog.tsx'
import { Facts } from '../components/facts.tsx'
import { Field, TextArea } from '../components/field.tsx'
import { Form, textIn } from '../components/form.tsx'
import { Scopes } from '../components/key-cells.tsx'
import { changesOf } from '../components/key-fields.tsx'
import { KeyTable } from '../components/key-table.tsx'
import { List } from '../components/list.tsx'
import { Loaded } from '../components/loaded.tsx'
import { OwnerUsage } from '../components/owner-usage.tsx'
import { Card, Page } from '../components/page.tsx'
import { RecentAudit } from '../components/recent-audit.tsx'
import { RevokeOfOwner } from '../components/revoke-many.tsx'
import { ScopeChoice, scopesIn } from '../components/scopes.tsx'
import { Time } from '../components/time.tsx'
import { ask, useAsk, useChange } from '../lib/api.ts'
import { formatCount } from '../lib/format.ts'
import { useKeys } from '../lib/keys.ts'
import { isAdmin, isStaff, useMe } from '../lib/me.ts'
import type { Key, ServiceAccount } from '../lib/types.ts'
import { texts } from '../texts.ts'

const { accounts: words } = texts

/** One service account with its keys. */
export function ServiceAccountPage({ id }: { id: string }) {
  const account = useAsk(['service-accounts', id], (api) => api['service-accounts']({ id }).get())
  const keys = useKeys({ service_account_id: id })
  const me = useMe()
  const found = account.data
  return (
    <Page
      title={found?.name ?? texts.loading}
      lead={found && <State of={found} />}
      actions={found && <Actions of={found} keys={keys.data} />}
    >
      <Loaded of={account}>
        {(present) => (
          <Card title={texts.key.about}>
            <Facts
              of={[
                [texts.fields.description, present.description && <bdi>{present.description}</bdi>],
                [texts.keys.scopes, <Scopes key="scopes" scopes={present.scopes} />],
                [texts.keys.created, <Time key="created" at={present.created_at} />],
                [
                  texts.keys.id,
                  <span key="id" className="copied">
                    <code>{present.id}</code> <Copy text={present.id} label={texts.keys.copyId} />
                  </span>,
                ],
              ]}
            />
          </Card>
        )}
      </Loaded>
      <Card
        title={texts.keys.title}
        actions={
          <Link href={`/keys/new?service_account_id=${id}`} className="button">
            {words.newKey}
          </Link>
        }
      >
        <List of={keys} none={words.noKeys}>
          {(rows) => <KeyTable label={texts.keys.title} keys={rows} />}
        </List>
      </Card>
      <Card title={texts.key.usage}>
        <OwnerUsage of={{ service_account_id: id }} />
      </Card>
      {isStaff(me) && (
        <Card title={texts.pages.audit}>
          <RecentAudit of={id} />
        </Card>
      )}
    </Page>
  )
}

const State = ({ of: { is_active } }: { of: ServiceAccount }) => (
  <>
    <Badge state={is_active ? 'active' : 'disabled'} /> {is_active ? words.active : words.inactive}
  </>
)

function Actions({ of: account, keys }: { of: ServiceAccount; keys: readonly Key[] | undefined }) {
  const { id } = account
  const me = useMe()
  const isSupport = isStaff(me) && !isAdmin(me)
  const [, navigate] = useLocation()
  const setActive = (is_active: boolean) => ask((api) => api['service-accounts']({ id }).patch({ is_active }))
  const live = keys?.filter(({ revoked_at }) => revoked_at === null).length ?? 0
  return (
    <>
      {!isSupport && <EditAccount of={account} />}
      {!isSupport && !account.is_active && (
        <Confirm
          button={texts.actions.enable}
          title={words.enableTitle}
          isDangerous={false}
          isPlain
          act={() => setActive(true)}
          done={words.enabled}
        >
          <p>{words.enableLead(formatCount(live, 'key'))}</p>
        </Confirm>
      )}
      {!isSupport && (
        <Confirm
          button={texts.actions.delete}
          title={words.deleteTitle}
          word={account.name}
          isPlain
          act={() => ask((api) => api['service-accounts']({ id }).delete())}
          done={words.deleted}
          onDone={() => navigate('/service-accounts')}
        >
          <p>{words.deleteLead(formatCount(live, 'key'))}</p>
        </Confirm>
      )}
      <RevokeOfOwner
        selector={{ service_account_id: id }}
        name={account.name}
        keys={formatCount(live, 'key')}
        disable={() => setActive(false)}
      />
      {account.is_active && (
        <Confirm
          button={texts.actions.cutOff}
          title={words.cutOffTitle}
          act={() => setActive(false)}
          done={words.cutOff}
        >
          <p>{words.cutOffLead(formatCount(live, 'key'))}</p>
          <p>{words.cutOffUndo}</p>
        </Confirm>
      )}
    </>
  )
}

type Patch = { name?: string; description?: string | null; scopes?: string[] }

function EditAccount({ of: account }: { of: ServiceAccount }) {
  const [isOpen, setOpen] = useState(false)
  const close = () => setOpen(false)
  const change = useChange(
    (patch: Patch) => ask((api) => api['service-accounts']({ id: account.id }).patch(patch)),
    {
      done: texts.key.changed,
      onDone: close,
    },
  )
  const submit = (fields: FormData) =>
    change.mutate(
      changesOf<Patch>(account, {
        name: textIn(fields, 'name') ?? '',
        description: textIn(fields, 'description') ?? null,
        scopes: scopesIn(fields),
      }),
    )
  return (
    <>
      <button type="button" className="plain" onClick={() => setOpen(true)}>
        {texts.actions.edit}
      </button>
      {isOpen && (
        <Dialog title={words.editTitle} onClose={close}>
          <Form
            button={texts.actions.save}
            isPending={change.isPending}
            error={change.error}
            onSubmit={submit}
            onCancel={close}
          >
            <Field
              label={texts.fields.name}
              name="name"
              path="/name"
              required
              maxLength={100}
              defaultValue={account.name}
            />
            <TextArea
              label={texts.fields.description}
              name="description"
              path="/description"
              defaultValue={account.description ?? ''}
            />
            <ScopeChoice chosen={account.scopes} />
          </Form>
        </Dialog>
      )}
    </>
  )
}
