/** @jsxImportSource hono/jsx */
/** The pages that a link of a mail, of an admin or of the log leads to, and the one that asks for such a mail. */
import { Field, Form, Links, Notice, Page, PasswordField, Refusal, type Site } from './components.tsx'

/** The same sentence for every address. */
const SENT = 'If the address is known here, a mail with a link is on its way.'

const passwordHint = (minLength: number) => `At least ${minLength} characters. A long sentence is best.`

type VerifyProps = {
  site: Site
  /** Whether there is a mail server. */
  canMail: boolean
  token: string
  /** Whether the password of the account is asked for. */
  asksPassword: boolean
  /** The address that the link was asked for. */
  email?: string
  isSent?: boolean
  refusal: string | null
}

/** `/verify-email`: a button confirms, since a mail scanner opens each link. */
export function VerifyEmailPage({ site, canMail, token, asksPassword, email, isSent, refusal }: VerifyProps) {
  const action = `${site.base}/verify-email`
  return (
    <Page site={site} title="Confirm your address">
      <Notice sentence={isSent ? SENT : undefined} />
      <Refusal sentence={refusal} />
      {token !== '' && (
        <Form action={action} hidden={{ token }} button="Confirm">
          {asksPassword && (
            <PasswordField
              name="password"
              label="Password of your account"
              autocomplete="current-password"
              hint="It shows that the account is yours."
            />
          )}
        </Form>
      )}
      {canMail && (
        <details open={token === ''}>
          <summary>Send the link again</summary>
          <Form action={action} button="Send it again">
            <Field
              name="email"
              label="E-mail"
              type="email"
              autocomplete="username"
              {...(email !== undefined && { value: email })}
            />
          </Form>
        </details>
      )}
      <Links
        to={[
          [`${site.base}/login`, 'Sign in'],
          [`${site.base}/forgot-password`, 'Forgot your password?'],
        ]}
      />
    </Page>
  )
}

type ForgotProps = { site: Site; email?: string; isSent: boolean; refusal: string | null }

/** `/forgot-password` */
export function ForgotPasswordPage({ site, email, isSent, refusal }: ForgotProps) {
  return (
    <Page site={site} title="Set a new password">
      <Notice sentence={isSent ? SENT : undefined} />
      <Refusal sentence={refusal} />
      <Form action={`${site.base}/forgot-password`} button="Send me a link">
        <Field
          name="email"
          label="E-mail"
          type="email"
          autocomplete="username"
          isFocused={!isSent}
          {...(email !== undefined && { value: email })}
        />
      </Form>
      <Links to={[[`${site.base}/login`, 'Sign in']]} />
    </Page>
  )
}

type NewPasswordProps = { site: Site; passwordMinLength: number; token: string; refusal: string | null }

/** `/reset-password`, also for invitations. */
export function NewPasswordPage({ site, passwordMinLength, token, refusal }: NewPasswordProps) {
  return (
    <Page site={site} title="Choose a password">
      <Refusal sentence={refusal} />
      <Form action={`${site.base}/reset-password`} hidden={{ token }} button="Set this password">
        <PasswordField
          name="new_password"
          label="New password"
          autocomplete="new-password"
          hint={passwordHint(passwordMinLength)}
        />
      </Form>
      <Links to={[[`${site.base}/forgot-password`, 'Ask for another link']]} />
    </Page>
  )
}

type SetupProps = NewPasswordProps & { email?: string }

/** `/setup`: the first admin. */
export function SetupPage({ site, passwordMinLength, token, email, refusal }: SetupProps) {
  return (
    <Page site={site} title="Make the first admin">
      <Refusal sentence={refusal} />
      <Form action={`${site.base}/setup`} hidden={{ token }} button="Make the admin">
        <Field
          name="email"
          label="E-mail"
          type="email"
          autocomplete="username"
          isFocused={email === undefined}
          {...(email !== undefined && { value: email })}
        />
        <PasswordField
          name="password"
          label="Password"
          autocomplete="new-password"
          hint={passwordHint(passwordMinLength)}
        />
      </Form>
    </Page>
  )
}
