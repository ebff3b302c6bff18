import { Field, Form, Links, Page, PasskeyButton, Refusal, type Site } from './components.tsx'

type Props = {
  site: Site
  mfaToken: string
  /** Those of `totp`, `passkey` and `recovery_code` that the person has. */
  methods: readonly string[]
  returnTo: string | null
  refusal: string | null
}

/** `/login/verify` */
export function SecondStepPage({ site, mfaToken, methods, returnTo, refusal }: Props) {
  const action = `${site.base}/login/verify`
  const hidden = { mfa_token: mfaToken, return_to: returnTo }
  const hasApp = methods.includes('totp')
  const recovery = (
    <Form action={action} hidden={hidden} button="Use this recovery code">
      <Field
        name="recovery_code"
        label="Recovery code"
        autocomplete="off"
        hint="One of the ten that you kept when you set up your second factor. Each works once."
      />
    </Form>
  )
  return (
    <Page site={site} title="Second step">
      <Refusal sentence={refusal} />
      {hasApp && (
        <Form action={action} hidden={hidden} button="Go on">
          <Field
            name="code"
            label="Code of your authenticator app"
            autocomplete="one-time-code"
            inputMode="numeric"
            isFocused
          />
        </Form>
      )}
      {methods.includes('passkey') && (
        <>
          <form method="post" action={action} id="passkey">
            <input type="hidden" name="mfa_token" value={mfaToken} />
            {returnTo !== null && <input type="hidden" name="return_to" value={returnTo} />}
            <input type="hidden" name="response" />
          </form>
          <PasskeyButton does="verify" site={site} next="">
            Use your passkey
          </PasskeyButton>
          <noscript>
            <p>A passkey needs JavaScript.</p>
          </noscript>
        </>
      )}
      {methods.includes('recovery_code') &&
        (hasApp ? <Details summary="Use a recovery code">{recovery}</Details> : recovery)}
      <Links to={[[`${site.base}/login`, 'Start again']]} />
    </Page>
  )
}

function Details({ summary, children }: { summary: string; children: unknown }) {
  return (
    <details>
      <summary>{summary}</summary>
      {children}
    </details>
  )
}
