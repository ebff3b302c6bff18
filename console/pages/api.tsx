import { useLocation } from 'wouter'
import { ApiFields, apiFieldsIn } from '../components/api-fields.tsx'
import { Activity, Badge } from '../components/badge.tsx'
import { Confirm } from '../components/confirm.tsx'
import { Copy } from '../components/copy.tsx'
import { Edit } from '../components/edit.tsx'
import { Enabling } from '../components/enabling.tsx'
import { Facts } from '../components/facts.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Owner } from '../components/owner.tsx'
import { Card, Deed, Page } from '../components/page.tsx'
import { RecentAudit } from '../components/recent-audit.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { ask, useAsk } from '../lib/api.ts'
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
  return <Activity isActive={is_active} words={words} />
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
  return (
    <>
      <Edit
        title={words.editTitle}
        save={(fields) => patch(resource, changesOf<ResourcePatch>(resource, apiFieldsIn(fields)))}
      >
        <ApiFields of={resource} />
      </Edit>
      <Enabling
        isActive={resource.is_active}
        set={(is_active) => patch(resource, { is_active })}
        words={words}
      />
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
