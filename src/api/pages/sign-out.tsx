/** @jsxImportSource hono/jsx */
import { Form, Links, Page, type Site } from './components.tsx'

/**
 * `/oauth/logout`, where an app does not prove that it speaks of the person who is signed in.
 * @param back the query by which the last page offers the way back to the app
 */
export function SignOutPage({ site, email, back }: { site: Site; email: string; back: string }) {
  return (
    <Page site={site} title="Sign out?">
      <p>An app asks to sign you out. You are signed in as {email}.</p>
      <Form action={`${site.base}/logout${back}`} button="Sign out" />
      <Links to={[[`${site.base}/`, 'Stay signed in']]} />
    </Page>
  )
}
