/** @jsxImportSource hono/jsx */
import { Field, Form, Links, Page, PasswordField, Refusal, type Site } from './components.tsx'

type Props = { site: Site; passwordMinLength: number; email?: string; refusal: string | null }

/** `/signup` */
export function SignUpPage({ site, passwordMinLength, email, refusal }: Props) {
  return (
    <Page site={site} title="Create an account">
      <Refusal sentence={refusal} />
      <Form action={`${site.base}/signup`} button="Create account">
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
          hint={`At least ${passwordMinLength} characters. A long sentence is best.`}
        />
      </Form>
      <Links to={[[`${site.base}/login`, 'Sign in instead']]} />
    </Page>
  )
}
