/** @jsxImportSource hono/jsx */
import {
  Field,
  Form,
  Links,
  Notice,
  Page,
  PasskeyButton,
  PasswordField,
  Refusal,
  type Site,
} from './components.tsx'

type SignInProps = {
  site: Site
  isSignUpOpen: boolean
  /** Whether browsers have passkeys at PUBLIC_URL (people.md, section 7, rule 10). */
  hasPasskeys: boolean
  email?: string
  returnTo: string | null
  /** What the page before has done. */
  notice?: string | undefined
  refusal: string | null
}

/** What `/login?notice=` can say. The link names it, so that no link writes a text of its own onto the page. */
export const NOTICES = new Map([
  ['signed_up', 'Your account is made. Sign in to go on.'],
  ['mailed', 'Look into your mailbox: a mail to the address that you gave says how to go on.'],
  ['verified', 'Your address is confirmed. Sign in to go on.'],
  ['password_set', 'Your new password is set. Sign in with it.'],
])

/** `/login` */
export function SignInPage({
  site,
  isSignUpOpen,
  hasPasskeys,
  email,
  returnTo,
  notice,
  refusal,
}: SignInProps) {
  return (
    <Page site={site} title="Sign in">
      <Notice sentence={notice} />
      <Refusal sentence={refusal} />
      <Form action={`${site.base}/login`} hidden={{ return_to: returnTo }} button="Sign in">
        <Field
          name="email"
          label="E-mail"
          type="email"
          autocomplete="username"
          isFocused={email === undefined}
          {...(email !== undefined && { value: email })}
        />
        <PasswordField name="password" label="Password" autocomplete="current-password" />
        <label class="check">
          <input type="checkbox" name="remember" value="true" />
          Stay signed in on this device
        </label>
      </Form>
      {hasPasskeys && (
        <PasskeyButton does="login" site={site} next={returnTo ?? `${site.base}/`}>
          Sign in with a passkey
        </PasskeyButton>
      )}
      <Links
        to={[
          ...(isSignUpOpen ? ([[`${site.base}/signup`, 'Create an account']] as const) : []),
          [`${site.base}/forgot-password`, 'Forgot your password?'],
        ]}
      />
    </Page>
  )
}

/** `/logged-out` */
export function SignedOutPage({
  site,
  back,
}: {
  site: Site
  /** The app that asked, and where it wants people to go; null: none did. */
  back: { name: string; place: string } | null
}) {
  return (
    <Page site={site} title="You are signed out">
      <p>You can close this window now.</p>
      <Links
        to={[
          ...(back ? ([[back.place, `Back to ${back.name}`]] as const) : []),
          [`${site.base}/login`, 'Sign in again'],
        ]}
      />
    </Page>
  )
}

type StartProps = {
  site: Site
  hasDocs: boolean
  hasConsole: boolean
  /** The address of the person who is signed in; null: nobody is. */
  email: string | null
}

/** `/`, for a browser */
export function StartPage({ site, hasDocs, hasConsole, email }: StartProps) {
  return (
    <Page site={site} title={`Welcome to ${site.brandName}`}>
      {email === null ? (
        <p>
          <a class="button" href={`${site.base}/login`}>
            Sign in
          </a>
        </p>
      ) : (
        <>
          <p>You are signed in as {email}.</p>
          {hasConsole && (
            <p>
              <a class="button" href={`${site.base}/console`}>
                Console
              </a>
            </p>
          )}
          <Form action={`${site.base}/logout`} button="Sign out" />
        </>
      )}
      {hasDocs && <Links to={[[`${site.base}/docs`, 'API documentation']]} />}
    </Page>
  )
}
