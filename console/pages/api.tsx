import { useState } from 'react'
import { useLocation } from 'wouter'
import { ApiFields, apiFieldsIn } from '../components/api-fields.tsx'
import { Badge } from '../components/badge.tsx'
import { Confirm } from '../components/confirm.tsx'
import { Copy } from '../components/copy.tsx'
import { Dialog } from '../components/dialog.tsx'
import { Facts } from '../components/facts.tsx'
import { Form } from '../components/form.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Owner } from '../components/owner.tsx'
import { Card, Deed, Page } from '../components/page.tsx'
import { RecentAudit } from '../components/recent-audit.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { ask, useAsk, useChange } from '../lib/api.ts'
import { changesOf } from '../lib/change.ts'
import { formatSeconds } from '../lib/format.ts'
import type { Resource, ResourcePatch } from '../lib/types.ts'
import { texts } from '../texts.ts'

const { apis: words } = texts
type Scope = Resource['scopes'][number]

const patch = ({ id }: Resource, change: ResourcePatch) => ask((api) => api.resources({ id }).patch(change))

/** One API for which apps get tokens: what it is, its scopes, and what may be done. */
export function ApiPage({ id }: { id: string }) {
  const resource = useAsk(['apis', id], (api) => api.resources({ id }).get())
  const found = resource.data
  return (
    <Page
      title={found?.name ?? (resource.error ? texts.errors.title : texts.loading)}
      lead={found && <State of={found} />}
      actions={found && !found.is_own && <Actions of={found} />}
    >
      <Loaded of={resource}>{(present) => <Parts of={present} />}</Loaded>
      {found && !found.is_own && (
        <>
          <Card title={texts.pages.audit}>
            <RecentAudit of={id} />
          </Card>
          <ForGood of={found} />
        </>
      )}
    </Page>
  )
}

function State({ of: { is_own, is_active } }: { of: Resource }) {
  if (is_own)
    return (
      <>
        <Badge state="built_in" /> {words.own}
      </>
    )
  return (
    <>
      <Badge state={is_active ? 'active' : 'disabled'} /> {is_active ? words.active : words.inactive}
    </>
  )
}

function Parts({ of: resource }: { of: Resource }) {
  return (
    <>
      <Card title={texts.key.about}>
        <Facts
          of={[
            [
              words.identifier,
              <span key="identifier" className="copied">
                <code>{resource.identifier}</code>{' '}
                <Copy text={resource.identifier} label={words.copyIdentifier} />
              </span>,
            ],
            [words.slug, <code key="slug">{resource.slug}</code>],
            [
              words.lifetime,
              resource.token_lifetime_seconds === null
                ? words.usualLifetime
                : formatSeconds(resource.token_lifetime_seconds),
            ],
            [texts.keys.created, resource.created_at && <Time key="created" at={resource.created_at} />],
            [
              texts.apps.createdBy,
              resource.created_by && (
                <Owner key="by" of={{ user_id: resource.created_by, service_account_id: null }} />
              ),
            ],
          ]}
        />
      </Card>
      <Card title={texts.keys.scopes}>
        {resource.scopes.length === 0 ? (
          <p className="quiet">{words.noScopes}</p>
        ) : (
          <Table<Scope>
            label={texts.keys.scopes}
            rows={resource.scopes}
            idOf={({ name }) => name}
            columns={[
              { head: texts.fields.name, cell: ({ name }) => <code>{name}</code> },
              {
                head: texts.fields.description,
                cell: ({ description }) => <bdi>{description}</bdi>,
              },
              { head: words.grantable, cell: ({ grantable_by }) => words.grantableBy[grantable_by] },
            ]}
          />
        )}
      </Card>
    </>
  )
}

function Actions({ of: resource }: { of: Resource }) {
  const enable = useChange(() => patch(resource, { is_active: true }), { done: words.enabled })
  return (
    <>
      <EditApi of={resource} />
      {resource.is_active ? (
        <Confirm
          button={texts.actions.disable}
          title={words.disableTitle}
          isPlain
          act={() => patch(resource, { is_active: false })}
          done={words.disabled}
        >
          <p>{words.disableLead}</p>
        </Confirm>
      ) : (
        <button type="button" className="plain" disabled={enable.isPending} onClick={() => enable.mutate()}>
          {texts.actions.enable}
        </button>
      )}
    </>
  )
}

function EditApi({ of: resource }: { of: Resource }) {
  const [isOpen, setOpen] = useState(false)
  const close = () => {
    setOpen(false)
    change.reset()
  }
  const change = useChange((after: ResourcePatch) => patch(resource, after), {
    done: texts.key.changed,
    onDone: close,
  })
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
            onSubmit={(fields) => change.mutate(changesOf<ResourcePatch>(resource, apiFieldsIn(fields)))}
            onCancel={close}
          >
            <ApiFields of={resource} />
          </Form>
        </Dialog>
      )}
    </>
  )
}

function ForGood({ of: resource }: { of: Resource }) {
  const [, navigate] = useLocation()
  return (
    <Card title={words.forGood}>
      <Deed lead={words.forGoodLead}>
        <Confirm
          button={texts.actions.delete}
          title={words.deleteTitle}
          word={resource.name}
          isPlain
          act={() => ask((api) => api.resources({ id: resource.id }).delete())}
          done={words.deleted}
          onDone={() => navigate('/apis')}
        >
          <p>{words.deleteLead}</p>
        </Confirm>
      </Deed>
    </Card>
  )
}
