import { useState } from 'react'
import { useLocation } from 'wouter'
import { AppFields, appFieldsIn } from '../components/app-fields.tsx'
import { Activity } from '../components/badge.tsx'
import { Confirm } from '../components/confirm.tsx'
import { Copy } from '../components/copy.tsx'
import { Edit } from '../components/edit.tsx'
import { Enabling } from '../components/enabling.tsx'
import { Facts } from '../components/facts.tsx'
import { Select } from '../components/field.tsx'
import { textIn } from '../components/form.tsx'
import { Scopes } from '../components/key-cells.tsx'
import { Loaded } from '../components/loaded.tsx'
import { Owner } from '../components/owner.tsx'
import { Card, Deed, Page } from '../components/page.tsx'
import { RecentAudit } from '../components/recent-audit.tsx'
import { Table } from '../components/table.tsx'
import { Time } from '../components/time.tsx'
import { ask, useAsk } from '../lib/api.ts'
import { changesOf } from '../lib/change.ts'
import type { App, AppPatch, AppWithSecret } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { AppSecret } from './new-app.tsx'

const { apps: words } = texts
const MAX_SECRETS = 2

const patch = ({ id }: App, change: AppPatch) => ask((api) => api.oauth.clients({ id }).patch(change))

/** One app: what it is, its secrets, and what may be done. */
export function AppPage({ id }: { id: string }) {
  const app = useAsk(['apps', id], (api) => api.oauth.clients({ id }).get())
  const [made, setMade] = useState<AppWithSecret | null>(null)
  if (made) return <AppSecret made={made} onDone={() => setMade(null)} />
  const found = app.data
  return (
    <Page
      title={found?.name ?? (app.error ? texts.errors.title : texts.loading)}
      lead={found && <Activity isActive={found.is_active} words={words} />}
      actions={found && <Actions of={found} />}
    >
      <Loaded of={app}>
        {(present) => (
          <>
            <About of={present} />
            {present.kind === 'confidential' && present.source === 'registered' && (
              <Secrets of={present} onMade={setMade} />
            )}
          </>
        )}
      </Loaded>
      {found && (
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

function About({ of: app }: { of: App }) {
  const isUrl = app.client_id !== app.id
  return (
    <Card title={texts.key.about}>
      <Facts
        of={[
          [words.source, words.sourceLeads[app.source]],
          [
            isUrl ? words.url : words.clientId,
            <span key="client_id" className="copied">
              <code>{app.client_id}</code> <Copy text={app.client_id} label={words.copyClientId} />
            </span>,
          ],
          [words.kind, words.kinds[app.kind]],
          [words.redirects, <Lines key="redirects" of={app.redirect_uris} />],
          [
            words.signedOut,
            app.post_logout_redirect_uris.length === 0 ? null : (
              <Lines key="signed-out" of={app.post_logout_redirect_uris} />
            ),
          ],
          [
            words.waysIn,
            <span key="grants" className="lines">
              {app.grants.map((grant) => (
                <span key={grant}>{nameOfGrant(grant)}</span>
              ))}
            </span>,
          ],
          [
            texts.keys.scopes,
            app.scopes === null ? words.noLimit : <Scopes key="scopes" scopes={app.scopes} />,
          ],
          [words.firstParty, app.first_party ? words.firstPartyHint : words.thirdParty],
          [texts.keys.lastUsed, <Time key="used" at={app.last_used_at} none={texts.keys.neverUsed} />],
          [texts.keys.created, <Time key="created" at={app.created_at} />],
          [
            words.createdBy,
            app.created_by && <Owner key="by" of={{ user_id: app.created_by, service_account_id: null }} />,
          ],
        ]}
      />
    </Card>
  )
}

const nameOfGrant = (grant: string) => (words.grants as Record<string, string>)[grant] ?? grant

function Lines({ of: lines }: { of: readonly string[] }) {
  if (lines.length === 0) return <span className="quiet">{words.noRedirects}</span>
  return (
    <span className="lines">
      {lines.map((line) => (
        <code key={line}>{line}</code>
      ))}
    </span>
  )
}

function Actions({ of: app }: { of: App }) {
  return (
    <>
      {app.source === 'registered' && (
        <Edit
          title={words.editTitle}
          save={(fields) => patch(app, changesOf<AppPatch>(app as AppPatch, appFieldsIn(fields)))}
        >
          <AppFields of={app} />
        </Edit>
      )}
      <Enabling isActive={app.is_active} set={(is_active) => patch(app, { is_active })} words={words} />
    </>
  )
}

function Secrets({ of: app, onMade }: { of: App; onMade(made: AppWithSecret): void }) {
  const { id, secrets } = app
  type Secret = App['secrets'][number]
  return (
    <Card
      title={texts.key.secrets}
      actions={secrets.length < MAX_SECRETS && <AddSecret of={app} onMade={onMade} />}
    >
      <p className="quiet">
        {secrets.length === 0 ? words.noSecrets : secrets.length === 1 ? words.oneSecret : words.twoSecrets}
      </p>
      {secrets.length > 0 && (
        <Table<Secret>
          label={texts.key.secrets}
          rows={secrets}
          idOf={(secret) => secret.id}
          columns={[
            { head: texts.key.secret, cell: ({ start }) => <code>{start}…</code> },
            { head: texts.keys.created, cell: ({ created_at }) => <Time at={created_at} /> },
            {
              head: texts.keys.lastUsed,
              cell: ({ last_used_at }) => <Time at={last_used_at} none={texts.keys.neverUsed} />,
            },
            { head: texts.key.ends, cell: ({ expires_at }) => <Time at={expires_at} none={words.noEnd} /> },
            {
              head: texts.key.end,
              cell: ({ id: secret_id, start }) => (
                <Confirm
                  button={texts.key.endNow}
                  title={texts.key.endTitle(start)}
                  isPlain
                  act={() => ask((api) => api.oauth.clients({ id }).secrets({ secret_id }).delete())}
                  done={texts.key.ended}
                >
                  <p>{secrets.length === 1 ? words.endLastLead : words.endLead}</p>
                </Confirm>
              ),
            },
          ]}
        />
      )}
    </Card>
  )
}

function AddSecret({ of: { id, secrets }, onMade }: { of: App; onMade(made: AppWithSecret): void }) {
  return (
    <Confirm
      button={words.addSecret}
      title={words.addSecretTitle}
      isDangerous={false}
      isPlain
      act={async (fields) => {
        const overlap_seconds = Number(textIn(fields, 'overlap') ?? 0)
        onMade(await ask((api) => api.oauth.clients({ id }).secrets.post({ overlap_seconds })))
      }}
    >
      <p>{words.addSecretLead}</p>
      {secrets.length > 0 && (
        <Select
          label={texts.key.overlap}
          name="overlap"
          path="/overlap_seconds"
          defaultValue="86400"
          options={Object.entries(texts.key.overlaps)}
        />
      )}
    </Confirm>
  )
}

function ForGood({ of: app }: { of: App }) {
  const [, navigate] = useLocation()
  return (
    <Card title={words.forGood}>
      <Deed lead={app.source === 'registered' ? words.forGoodLead : words.comesBack}>
        <Confirm
          button={texts.actions.delete}
          title={words.deleteTitle}
          word={app.name}
          isPlain
          act={() => ask((api) => api.oauth.clients({ id: app.id }).delete())}
          done={words.deleted}
          onDone={() => navigate('/apps')}
        >
          <p>{words.deleteLead}</p>
        </Confirm>
      </Deed>
    </Card>
  )
}
