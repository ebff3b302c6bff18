import { useState } from 'react'
import { useLocation } from 'wouter'
import { ask, useChange } from '../lib/api.ts'
import { managesAccount } from '../lib/keys.ts'
import { isAdmin, useMe } from '../lib/me.ts'
import { asRefusal } from '../lib/refusal.ts'
import type { ServiceAccount } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Confirm } from './confirm.tsx'
import { Dialog } from './dialog.tsx'
import { Field } from './field.tsx'
import { Form, textIn } from './form.tsx'
import { Owner } from './owner.tsx'
import { Card } from './page.tsx'
import { Table } from './table.tsx'

const { managers: words } = texts
type Manager = ServiceAccount['managers'][number]
type NewManager = { email: string } | { user_id: string } | { service_account_id: string }

/** Who manages a service account. A manager and an admin add others, and remove them. */
export function Managers({ of: account }: { of: ServiceAccount }) {
  const mayChange = managesAccount(account, useMe())
  return (
    <Card title={words.title} actions={mayChange && <AddManager of={account} />}>
      {account.managers.length === 0 ? (
        <p className="quiet">{words.none}</p>
      ) : (
        <Table<Manager>
          label={words.title}
          rows={account.managers}
          idOf={({ id }) => id}
          columns={[
            {
              head: words.who,
              cell: ({ type, id }) => (
                <Owner
                  of={{
                    user_id: type === 'user' ? id : null,
                    service_account_id: type === 'service_account' ? id : null,
                  }}
                />
              ),
            },
            { head: words.kind, cell: ({ type }) => texts.parties[type] },
            ...(mayChange
              ? [{ head: words.remove, cell: (each: Manager) => <RemoveManager of={account} who={each} /> }]
              : []),
          ]}
        />
      )}
    </Card>
  )
}

function AddManager({ of: { id } }: { of: ServiceAccount }) {
  const [isOpen, setOpen] = useState(false)
  const close = () => {
    setOpen(false)
    change.reset()
  }
  const put = (manager: NewManager) => ask((api) => api['service-accounts']({ id }).managers.put(manager))
  const change = useChange(
    (who: string) => {
      if (who.includes('@')) return put({ email: who })
      // An id does not tell whose it is: only the API knows.
      return put({ user_id: who }).catch((error: unknown) => {
        if (asRefusal(error).status !== 404) throw error
        return put({ service_account_id: who })
      })
    },
    { done: words.added, onDone: close },
  )
  return (
    <>
      <button type="button" className="plain" onClick={() => setOpen(true)}>
        {words.add}
      </button>
      {isOpen && (
        <Dialog title={words.add} onClose={close}>
          <Form
            button={words.add}
            isPending={change.isPending}
            error={change.error}
            onSubmit={(fields) => change.mutate(textIn(fields, 'who') ?? '')}
            onCancel={close}
          >
            <p>{words.addLead}</p>
            <Field
              label={words.address}
              hint={words.addressHint}
              name="who"
              path="/email"
              autoComplete="off"
              required
            />
          </Form>
        </Dialog>
      )}
    </>
  )
}

function RemoveManager({ of: { id }, who }: { of: ServiceAccount; who: Manager }) {
  const me = useMe()
  const [, navigate] = useLocation()
  const isMe = who.id === me?.id
  return (
    <Confirm
      button={words.removeOne}
      title={isMe ? words.removeMe : words.removeTitle}
      isPlain
      act={() => ask((api) => api['service-accounts']({ id }).managers({ managerId: who.id }).delete())}
      done={words.removed}
      onDone={() => {
        // The account is not theirs to see any more.
        if (isMe && !isAdmin(me)) navigate('/service-accounts')
      }}
    >
      <p>{isMe ? words.removeMeLead : words.removeLead}</p>
    </Confirm>
  )
}
