import { useMutation } from '@tanstack/react-query'
import { useState } from 'react'
import { queries } from '../lib/api.ts'
import { presentMe } from '../lib/me.ts'
import { PATH } from '../lib/place.ts'
import { Refusal } from '../lib/refusal.ts'
import { getToken, post, question, takeToken } from '../lib/session.ts'
import { texts } from '../texts.ts'
import { Dialog } from './dialog.tsx'
import { Field } from './field.tsx'
import { Form, textIn } from './form.tsx'

/** Asks in place: to sign in again, or to prove again who one is. The page below keeps what is typed into it. */
export function Questions() {
  const asked = question.use()
  if (asked === null) return null
  const close = () => asked.refused(new Refusal(0, 'cancelled', texts.questions.cancelled[asked.kind]))
  return (
    <Dialog title={texts.questions.title[asked.kind]} onClose={close}>
      {asked.kind === 'sign-in' ? (
        <SignIn onDone={asked.answered} />
      ) : (
        <Prove onDone={asked.answered} onCancel={close} />
      )}
    </Dialog>
  )
}

type Proof = { password?: string; code?: string }

function SignIn({ onDone }: { onDone(): void }) {
  const me = presentMe()
  const [mfaToken, setMfaToken] = useState<string | null>(null)
  const change = useMutation<void, Refusal, Proof & { email: string }>({
    mutationFn: async ({ email, password, code }) => {
      if (mfaToken === null) await post('/session', { email, password })
      else await post('/session/mfa', { mfa_token: mfaToken, code })
      takeToken((await post('/session/token')) as Parameters<typeof takeToken>[0])
      // What is open belongs to the person who was here before.
      if (me && email !== me.email) location.reload()
      onDone()
      void queries.invalidateQueries()
    },
    onError: ({ code, members }) => {
      if (code === 'mfa_required') setMfaToken(String(members.mfa_token))
    },
  })
  const isSecond = mfaToken !== null && change.error?.code === 'mfa_required'
  return (
    <Form
      button={texts.questions.signIn}
      isPending={change.isPending}
      error={isSecond ? null : change.error}
      onSubmit={(fields) =>
        change.mutate({ email: textIn(fields, 'email') ?? me?.email ?? '', ...proofIn(fields) })
      }
    >
      <p>
        {texts.questions.signInLead}{' '}
        <a href={`${PATH}/login`} target="_blank" rel="noreferrer">
          {texts.questions.otherWays}
        </a>
      </p>
      {mfaToken === null ? (
        <>
          <Field
            label={texts.fields.email}
            name="email"
            type="email"
            autoComplete="username"
            defaultValue={me?.email}
          />
          <Password />
        </>
      ) : (
        <Code />
      )}
    </Form>
  )
}

function Prove({ onDone, onCancel }: { onDone(): void; onCancel(): void }) {
  const [hasFactor, setHasFactor] = useState(false)
  const change = useMutation<void, Refusal, Proof>({
    mutationFn: async (proof) => {
      await post('/auth/reauthenticate', proof, { bearer: await getToken() })
      onDone()
    },
    onError: ({ code }) => {
      if (code === 'mfa_required') setHasFactor(true)
    },
  })
  return (
    <Form
      button={texts.questions.prove}
      isPending={change.isPending}
      error={change.error?.code === 'mfa_required' ? null : change.error}
      onSubmit={(fields) => change.mutate(proofIn(fields))}
      onCancel={onCancel}
    >
      <p>{texts.questions.proveLead}</p>
      {hasFactor ? <Code /> : <Password />}
    </Form>
  )
}

const Password = () => (
  <Field
    label={texts.fields.password}
    name="password"
    type="password"
    autoComplete="current-password"
    required
    autoFocus
  />
)

const Code = () => (
  <Field
    label={texts.fields.code}
    name="code"
    inputMode="numeric"
    autoComplete="one-time-code"
    required
    autoFocus
  />
)

function proofIn(fields: FormData): Proof {
  const [password, code] = [fields.get('password'), textIn(fields, 'code')]
  return { ...(typeof password === 'string' && { password }), ...(code !== undefined && { code }) }
}
