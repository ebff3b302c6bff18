import { useState } from 'react'
import { ask, useAsk, useChange } from '../lib/api.ts'
import { HAS_PASSKEYS, makePasskey } from '../lib/passkeys.ts'
import type { SecondFactors as Factors, PendingTotp } from '../lib/types.ts'
import { texts } from '../texts.ts'
import { Badge } from './badge.tsx'
import { Confirm } from './confirm.tsx'
import { Dialog } from './dialog.tsx'
import { Command } from './empty.tsx'
import { Facts } from './facts.tsx'
import { Field } from './field.tsx'
import { Form, textIn } from './form.tsx'
import { Loaded } from './loaded.tsx'
import { Card } from './page.tsx'
import { Table } from './table.tsx'
import { Time } from './time.tsx'

const { factors: words } = texts
type Codes = readonly string[] | null | undefined

/** The authenticator app, the passkeys and the recovery codes of the person. */
export function SecondFactors() {
  const factors = useAsk(['factors'], (api) => api.auth.mfa.get())
  const [codes, setCodes] = useState<Codes>(null)
  return (
    <Card title={words.title}>
      <Loaded of={factors}>{(found) => <Present of={found} onCodes={setCodes} />}</Loaded>
      {codes && (
        <Dialog title={words.codesTitle} onClose={() => setCodes(null)}>
          <p>{words.codesLead}</p>
          <Command text={codes.join('\n')} />
          <div className="actions end">
            <button type="button" onClick={() => setCodes(null)}>
              {words.codesSaved}
            </button>
          </div>
        </Dialog>
      )}
    </Card>
  )
}

function Present({ of: factors, onCodes }: { of: Factors; onCodes(codes: Codes): void }) {
  const { totp, passkeys, recovery_codes_left: left } = factors
  const hasFactor = totp !== null || passkeys.length > 0
  return (
    <>
      <p className="quiet">{hasFactor ? words.lead : factors.required ? words.required : words.none}</p>
      <Facts
        of={[
          [words.app, totp ? <Time key="app" at={totp.created_at} /> : words.off],
          [words.passkeys, passkeys.length === 0 ? words.off : String(passkeys.length)],
          [words.codes, hasFactor ? words.codesLeft(left) : words.off],
        ]}
      />
      {passkeys.length > 0 && <Passkeys of={passkeys} />}
      <div className="actions">
        <SetUpApp isAgain={totp !== null} onCodes={onCodes} />
        {HAS_PASSKEYS && <AddPasskey onCodes={onCodes} />}
        {hasFactor && (
          <Confirm
            button={words.newCodes}
            title={words.newCodesTitle}
            isDangerous={false}
            isPlain
            act={async () =>
              onCodes((await ask((api) => api.auth.mfa['recovery-codes'].post())).recovery_codes)
            }
          >
            <p>{words.newCodesLead}</p>
          </Confirm>
        )}
        {totp && (
          <Confirm
            button={words.removeApp}
            title={words.removeTitle}
            isPlain
            act={() => ask((api) => api.auth.mfa.totp.delete())}
            done={words.removed}
          >
            <p>{words.removeLead}</p>
          </Confirm>
        )}
      </div>
    </>
  )
}

function SetUpApp({ isAgain, onCodes }: { isAgain: boolean; onCodes(codes: Codes): void }) {
  const [pending, setPending] = useState<PendingTotp | null>(null)
  const begin = useChange(() => ask((api) => api.auth.mfa.totp.post()), { onDone: setPending })
  const close = () => setPending(null)
  const confirm = useChange((code: string) => ask((api) => api.auth.mfa.totp.confirm.post({ code })), {
    done: words.appDone,
    onDone: ({ recovery_codes }) => {
      close()
      onCodes(recovery_codes)
    },
  })
  return (
    <>
      <button type="button" className="plain" disabled={begin.isPending} onClick={() => begin.mutate()}>
        {isAgain ? words.replaceApp : words.setUpApp}
      </button>
      {pending && (
        <Dialog title={words.setUpApp} onClose={close}>
          <p>{words.scan}</p>
          <img
            className="qr"
            src={`data:image/svg+xml,${encodeURIComponent(pending.qr_svg)}`}
            alt={words.qr}
          />
          <p>{words.orType}</p>
          <Command text={pending.secret} />
          <Form
            button={words.confirmApp}
            isPending={confirm.isPending}
            error={confirm.error}
            onSubmit={(fields) => confirm.mutate(textIn(fields, 'code') ?? '')}
            onCancel={close}
          >
            <Field
              label={texts.fields.code}
              name="code"
              path="/code"
              inputMode="numeric"
              autoComplete="one-time-code"
              required
            />
          </Form>
        </Dialog>
      )}
    </>
  )
}

function AddPasskey({ onCodes }: { onCodes(codes: Codes): void }) {
  return (
    <Confirm
      button={words.addPasskey}
      title={words.addPasskey}
      isDangerous={false}
      isPlain
      act={async (fields) => {
        const options = await ask((api) => api.auth.passkeys.options.post())
        const response = await makePasskey(options)
        const name = textIn(fields, 'name') ?? ''
        const made = await ask((api) => api.auth.passkeys.post({ name, response: response as never }))
        onCodes(made.recovery_codes)
      }}
      done={words.passkeyDone}
    >
      <p>{words.addPasskeyLead}</p>
      <Field
        label={texts.fields.name}
        hint={words.passkeyName}
        name="name"
        path="/name"
        required
        maxLength={100}
        autoComplete="off"
      />
    </Confirm>
  )
}

type Passkey = Factors['passkeys'][number]

function Passkeys({ of: passkeys }: { of: readonly Passkey[] }) {
  return (
    <Table<Passkey>
      label={words.passkeys}
      rows={passkeys}
      idOf={({ id }) => id}
      columns={[
        {
          head: texts.fields.name,
          cell: ({ name, suspended }) => (
            <>
              <bdi>{name}</bdi> {suspended && <Badge state="suspended" />}
            </>
          ),
        },
        { head: texts.keys.created, cell: ({ created_at }) => <Time at={created_at} /> },
        {
          head: texts.keys.lastUsed,
          cell: ({ last_used_at }) => <Time at={last_used_at} none={texts.keys.neverUsed} />,
        },
        {
          head: texts.actions.actions,
          cell: ({ id, name }) => (
            <div className="actions">
              <Confirm
                button={words.rename}
                title={words.renameTitle}
                isDangerous={false}
                isPlain
                act={(fields) =>
                  ask((api) => api.auth.passkeys({ id }).patch({ name: textIn(fields, 'name') ?? '' }))
                }
              >
                <Field
                  label={texts.fields.name}
                  name="name"
                  path="/name"
                  required
                  maxLength={100}
                  defaultValue={name}
                />
              </Confirm>
              <Confirm
                button={words.remove}
                title={words.removePasskeyTitle}
                isPlain
                act={() => ask((api) => api.auth.passkeys({ id }).delete())}
                done={words.removed}
              >
                <p>{words.removeLead}</p>
              </Confirm>
            </div>
          ),
        },
      ]}
    />
  )
}
