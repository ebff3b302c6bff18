/** @jsxImportSource hono/jsx */
import { Form, Links, Page, type Site } from './components.tsx'

/** `/oauth/logout`, where an app does not prove that it speaks of the person who is signed in. */
export function SignOutPage({ site, email }: { site: Site; email: string }) {
  return (
    <Page site={site} title="Sign out?">
      <p>An app asks to sign you out. You are signed in as {email}.</p>
      <Form action={`${site.base}/logout`} button="Sign out" />
      <Links to={[[`${site.base}/`, 'Stay signed in']]} />
    </Page>
  )
}
