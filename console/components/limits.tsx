import { useState } from 'react'
import { ask, useChange } from '../lib/api.ts'
import { formatNumber, formatSeconds } from '../lib/format.ts'
import { newIdempotencyKey } from '../lib/idempotency.ts'
import { isAdmin, useMe } from '../lib/me.ts'
import type { Credits, Limited, LimitPatch, Refill } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Confirm } from './confirm.tsx'
import { Dialog } from './dialog.tsx'
import { Facts } from './facts.tsx'
import { Field } from './field.tsx'
import { Form, textIn } from './form.tsx'
import { LimitFields, limitChanges } from './limit-fields.tsx'
import { Meter } from './meter.tsx'
import { Card } from './page.tsx'

const { limits: words } = texts

/** What has credits: its kind as the API's paths name it, and its id. */
type Holder = { kind: 'keys' | 'users' | 'service-accounts'; id: string }
type Owner = Limited & { id: string }

/** What all keys of an owner share. Admins change it. */
export function OwnerLimits({ of: owner, kind }: { of: Owner; kind: 'users' | 'service-accounts' }) {
  const mayChange = isAdmin(useMe())
  const { id, rate_limit: rate, credits } = owner
  return (
    <Card
      title={texts.key.limits}
      actions={
        mayChange && (
          <>
            {credits && <AddCredits to={{ kind, id }} />}
            <EditLimits of={owner} kind={kind} />
          </>
        )
      }
    >
      {rate === null && credits === null ? (
        <p className="quiet">{words.noneOfOwner}</p>
      ) : (
        <>
          <p className="quiet">{words.ofOwner}</p>
          {rate && (
            <Facts
              of={[
                [
                  texts.fields.rateLimit,
                  words.rate(formatNumber(rate.limit), formatSeconds(rate.window_seconds)),
                ],
              ]}
            />
          )}
          {credits && <CreditsMeter of={credits} />}
        </>
      )}
    </Card>
  )
}

function EditLimits({ of: owner, kind }: { of: Owner; kind: 'users' | 'service-accounts' }) {
  const { id } = owner
  const [isOpen, setOpen] = useState(false)
  const close = () => {
    setOpen(false)
    change.reset()
  }
  const change = useChange<LimitPatch, unknown>(
    (patch) =>
      kind === 'users'
        ? ask((api) => api.users({ id }).patch(patch))
        : ask((api) => api['service-accounts']({ id }).patch(patch)),
    { done: texts.key.changed, onDone: close },
  )
  return (
    <>
      <button type="button" className="plain" onClick={() => setOpen(true)}>
        {words.edit}
      </button>
      {isOpen && (
        <Dialog title={words.editTitle} onClose={close}>
          <Form
            button={texts.actions.save}
            isPending={change.isPending}
            error={change.error}
            onSubmit={(fields) => change.mutate(limitChanges(owner, fields))}
            onCancel={close}
          >
            <p>{words.ofOwner}</p>
            <LimitFields of={owner} />
          </Form>
        </Dialog>
      )}
    </>
  )
}

/** Adds to what is left. The same amount that is sent again, for instance after a lost connection, is added once. */
export function AddCredits({ to: { kind, id } }: { to: Holder }) {
  const [idempotencyKey, setIdempotencyKey] = useState(newIdempotencyKey)
  const renew = () => setIdempotencyKey(newIdempotencyKey())
  const add = (fields: FormData) => {
    const body = { add: Number(textIn(fields, 'add')) }
    return ask((api) =>
      api[kind]({ id }).credits.post(body, { headers: { 'idempotency-key': idempotencyKey } }),
    )
  }
  return (
    <Confirm
      button={words.add}
      title={words.addTitle}
      isDangerous={false}
      isPlain
      act={add}
      done={words.added}
      onDone={renew}
    >
      <Field
        label={words.amount}
        hint={words.amountHint}
        name="add"
        path="/add"
        type="number"
        required
        autoComplete="off"
        onChange={renew}
      />
    </Confirm>
  )
}

/** What is left of credits, and when there are more. */
export function CreditsMeter({ of: { remaining, refill } }: { of: Credits }) {
  return (
    <Meter
      label={texts.fields.credits}
      value={remaining}
      max={Math.max(remaining, refill?.max ?? refill?.amount ?? 0)}
      hint={refill ? sayRefill(refill) : words.noRefill}
    />
  )
}

/** "Refilled to 1,000 every Monday at 0:00, Europe/Berlin." */
function sayRefill({ amount, interval, day = 1, hour = 0, time_zone = 'UTC', mode = 'set', max }: Refill) {
  const when = words.at(words.intervals[interval](day), hour, time_zone)
  const most = max === undefined ? null : formatNumber(max)
  return words.refill[mode](formatNumber(amount), when, most)
}
