import { useMutation } from '@tanstack/react-query'
import { useEffect, useState } from 'react'
import { ask, queries, useAsk } from '../lib/api.ts'
import { presentMe } from '../lib/me.ts'
import { askPasskey, HAS_PASSKEYS } from '../lib/passkeys.ts'
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

type Issued = Parameters<typeof takeToken>[0]
type Proof = { password?: string; code?: string; isPasskey?: boolean }

function SignIn({ onDone }: { onDone(): void }) {
  const me = presentMe()
  const [mfaToken, setMfaToken] = useState<string | null>(null)
  const [methods, setMethods] = useState<readonly string[]>([])
  const goOn = async () => {
    takeToken((await post('/session/token')) as Issued)
    // What is open belongs to the person who was here before.
    if (me && (await ask((api) => api.auth.me.get())).id !== me.id) location.reload()
    onDone()
    void queries.invalidateQueries()
  }
  const change = useMutation<void, Refusal, Proof & { email: string }>({
    mutationFn: async ({ email, password, code, isPasskey }) => {
      const mfa_token = mfaToken
      if (mfa_token === null) await post('/session', { email, password })
      else if (isPasskey) {
        const response = await askPasskey(await post('/auth/passkeys/login/options', { mfa_token }))
        await post('/session/mfa', { mfa_token, response })
      } else await post('/session/mfa', { mfa_token, code })
      await goOn()
    },
    onError: ({ code, members }) => {
      if (code !== 'mfa_required') return
      setMfaToken(String(members.mfa_token))
      setMethods(Array.isArray(members.methods) ? members.methods : [])
    },
  })
  // Signed in by another tab meanwhile.
  // biome-ignore lint/correctness/useExhaustiveDependencies: it listens as long as it asks
  useEffect(() => {
    const look = () => {
      if (document.visibilityState === 'visible') goOn().catch(() => undefined)
    }
    document.addEventListener('visibilitychange', look)
    return () => document.removeEventListener('visibilitychange', look)
  }, [])
  const email = (fields?: FormData) => (fields && textIn(fields, 'email')) ?? me?.email ?? ''
  return (
    <Form
      button={texts.questions.signIn}
      isPending={change.isPending}
      error={change.error?.code === 'mfa_required' ? null : change.error}
      onSubmit={(fields) => change.mutate({ email: email(fields), ...proofIn(fields) })}
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
        <>
          {methods.includes('totp') && <Code />}
          {methods.includes('passkey') && (
            <UsePasskey onUse={() => change.mutate({ email: email(), isPasskey: true })} />
          )}
        </>
      )}
    </Form>
  )
}

function Prove({ onDone, onCancel }: { onDone(): void; onCancel(): void }) {
  const [isRefused, setRefused] = useState(false)
  const factors = useAsk(['factors'], (api) => api.auth.mfa.get()).data
  const hasApp = factors ? factors.totp !== null : isRefused
  const hasPasskey = factors ? factors.passkeys.length > 0 : isRefused
  const change = useMutation<void, Refusal, Proof>({
    mutationFn: async ({ isPasskey, ...proof }) => {
      const bearer = await getToken()
      const options = isPasskey && (await post('/auth/reauthenticate/options', undefined, { bearer }))
      await post('/auth/reauthenticate', options ? { response: await askPasskey(options) } : proof, {
        bearer,
      })
      onDone()
    },
    onError: ({ code }) => {
      if (code === 'mfa_required') setRefused(true)
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
      {!hasApp && !hasPasskey && <Password />}
      {hasApp && <Code />}
      {hasPasskey && <UsePasskey onUse={() => change.mutate({ isPasskey: true })} />}
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

const UsePasskey = ({ onUse }: { onUse(): void }) =>
  HAS_PASSKEYS && (
    <button type="button" className="plain" onClick={onUse}>
      {texts.factors.usePasskey}
    </button>
  )

function proofIn(fields: FormData): Proof {
  const [password, code] = [fields.get('password'), textIn(fields, 'code')]
  return { ...(typeof password === 'string' && { password }), ...(code !== undefined && { code }) }
}
