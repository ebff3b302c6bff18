import { Link, useLocation } from 'wouter'
import { Activity } from '../components/badge.tsx'
import { Confirm } from '../components/confirm.tsx'
import { Copy } from '../components/copy.tsx'
import { Edit } from '../components/edit.tsx'
import { Empty } from '../components/empty.tsx'
import { Facts } from '../components/facts.tsx'
import { Field, TextArea } from '../components/field.tsx'
import { textIn } from '../components/form.tsx'
import { Scopes } from '../components/key-cells.tsx'
import { KeyTable } from '../components/key-table.tsx'
import { OwnerLimits } from '../components/limits.tsx'
import { List } from '../components/list.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Managers } from '../components/managers.tsx'
import { OwnerUsage } from '../components/owner-usage.tsx'
import { Card, Deed, Page } from '../components/page.tsx'
import { RecentAudit } from '../components/recent-audit.tsx'
import { KeysOf, RevokeOfOwner } from '../components/revoke-many.tsx'
import { ScopeChoice, scopesIn } from '../components/scopes.tsx'
import { Time } from '../components/time.tsx'
import { ask, useAsk } from '../lib/api.ts'
import { changesOf } from '../lib/change.ts'
import { managesAccount, useKeys } from '../lib/keys.ts'
import { isStaff, mayName, useMe } from '../lib/me.ts'
import type { ServiceAccount } from '../lib/types.ts'
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
      title={found?.name ?? (account.error ? texts.errors.title : texts.loading)}
      lead={found && <Activity isActive={found.is_active} words={words} />}
      actions={found && <Actions of={found} />}
    >
      <Loaded of={account}>
        {(present) => (
          <Card title={texts.key.about}>
            <Facts
              of={[
                [texts.fields.description, present.description && <bdi>{present.description}</bdi>],
                [texts.fields.externalId, present.external_id && <bdi>{present.external_id}</bdi>],
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
          found &&
          managesAccount(found, me) && (
            <Link href={`/keys/new?service_account_id=${id}`} className="button">
              {words.newKey}
            </Link>
          )
        }
      >
        <List
          of={keys}
          empty={
            <Empty title={words.noKeys}>
              <p>{words.noKeysLead}</p>
            </Empty>
          }
        >
          {(rows) => <KeyTable label={texts.keys.title} keys={rows} />}
        </List>
      </Card>
      {found && <OwnerLimits of={found} kind="service-accounts" />}
      {found && <Managers of={found} />}
      <Card title={texts.key.usage}>
        <OwnerUsage of={{ service_account_id: id }} />
      </Card>
      {isStaff(me) && (
        <Card title={texts.pages.audit}>
          <RecentAudit of={id} />
        </Card>
      )}
      {found && <ForGood of={found} />}
    </Page>
  )
}

const setActive = ({ id }: ServiceAccount, is_active: boolean) =>
  ask((api) => api['service-accounts']({ id }).patch({ is_active }))

function Actions({ of: account }: { of: ServiceAccount }) {
  const owner = { service_account_id: account.id }
  const isManaged = managesAccount(account, useMe())
  return (
    <>
      {isManaged && <EditAccount of={account} />}
      {isManaged && !account.is_active && (
        <Confirm
          button={texts.actions.enable}
          title={words.enableTitle}
          isDangerous={false}
          isPlain
          act={() => setActive(account, true)}
          done={words.enabled}
        >
          <KeysOf owner={owner}>{words.enableLead}</KeysOf>
        </Confirm>
      )}
      {account.is_active && (
        <Confirm
          button={texts.actions.cutOff}
          title={words.cutOffTitle}
          act={() => setActive(account, false)}
          done={words.cutOff}
        >
          <KeysOf owner={owner}>{words.cutOffLead}</KeysOf>
          <p>{words.cutOffUndo}</p>
        </Confirm>
      )}
    </>
  )
}

/** Changes that cannot be undone. They stand at the end of the page, so that they are not clicked in a hurry. */
function ForGood({ of: account }: { of: ServiceAccount }) {
  const [, navigate] = useLocation()
  const owner = { service_account_id: account.id }
  return (
    <Card title={words.forGood}>
      <Deed lead={words.forGoodLead}>
        <div className="actions">
          <RevokeOfOwner selector={owner} name={account.name} disable={() => setActive(account, false)} />
          {managesAccount(account, useMe()) && (
            <Confirm
              button={texts.actions.delete}
              title={words.deleteTitle}
              word={account.name}
              isPlain
              act={() => ask((api) => api['service-accounts']({ id: account.id }).delete())}
              done={words.deleted}
              onDone={() => navigate('/service-accounts')}
            >
              <KeysOf owner={owner}>{words.deleteLead}</KeysOf>
            </Confirm>
          )}
        </div>
      </Deed>
    </Card>
  )
}

type Patch = { name?: string; description?: string | null; external_id?: string | null; scopes?: string[] }

function EditAccount({ of: account }: { of: ServiceAccount }) {
  const me = useMe()
  const save = (fields: FormData) => {
    const patch = changesOf<Patch>(account, {
      name: textIn(fields, 'name') ?? '',
      description: textIn(fields, 'description') ?? null,
      ...(fields.has('external_id') && { external_id: textIn(fields, 'external_id') ?? null }),
      scopes: scopesIn(fields),
    })
    return ask((api) => api['service-accounts']({ id: account.id }).patch(patch))
  }
  return (
    <Edit title={words.editTitle} save={save}>
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
      {mayName(me) && (
        <Field
          label={texts.fields.externalId}
          hint={words.externalIdHint}
          name="external_id"
          path="/external_id"
          maxLength={255}
          autoComplete="off"
          defaultValue={account.external_id ?? ''}
        />
      )}
      <ScopeChoice chosen={account.scopes} />
    </Edit>
  )
}
