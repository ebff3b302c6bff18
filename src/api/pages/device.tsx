/** @jsxImportSource hono/jsx */
import type { DeviceView } from '../../core/authorization/device.ts'
import { Field, Form, Links, Page, Refusal, type Site } from './components.tsx'
import { Choice } from './consent.tsx'

/** `/device`, where a person types the code that another device shows. A link may have filled it in; it sends nothing. */
export function DevicePage({
  site,
  userCode,
  refusal,
}: {
  site: Site
  userCode: string
  refusal: string | null
}) {
  return (
    <Page site={site} title="Connect a device">
      <Refusal sentence={refusal} />
      <p>Type the code that the device shows, or compare it with the one below.</p>
      <Form action={`${site.base}/device`} button="Go on">
        <Field
          name="user_code"
          label="Code"
          autocomplete="off"
          value={userCode}
          hint="Eight letters, such as BCDF-GHJK."
          isFocused={userCode === ''}
        />
      </Form>
    </Page>
  )
}

/** What the device of a code asks for. */
export function DeviceChoicePage({
  site,
  view,
  refusal,
}: {
  site: Site
  view: DeviceView
  refusal: string | null
}) {
  const { client, resource, startedAt, ip } = view
  return (
    <Page site={site} title={`Allow ${client.name}?`}>
      <Refusal sentence={refusal} />
      <p>
        <strong>{client.name}</strong> asks to act for you, <strong>{view.email}</strong>, on the device that
        shows the code <strong class="code">{view.userCode}</strong>.
      </p>
      <p class="warning">
        You started this on another device, at{' '}
        {ip === null ? 'an address that is not known' : <strong>{ip}</strong>}, on {dayOf(startedAt)} at{' '}
        <strong>{timeOf(startedAt)}</strong> (UTC). If that was not you, or somebody sent you this code,
        cancel.
      </p>
      <dl class="facts">
        <dt>For</dt>
        <dd>
          {resource.name}
          <br />
          <span class="hint">{resource.identifier}</span>
        </dd>
      </dl>
      <form method="post" action={`${site.base}/device/answer`} class="consent">
        <input type="hidden" name="request" value={view.requestId} />
        <Choice view={view} />
      </form>
    </Page>
  )
}

const dayOf = (at: Date): string => at.toISOString().slice(0, 10)
const timeOf = (at: Date): string => at.toISOString().slice(11, 16)

const ENDS = {
  allowed: ['Done', 'The device is connected in a few seconds. You can close this page.'],
  denied: ['Cancelled', 'The device got nothing. You can close this page.'],
} as const

/** What follows an answer. */
export function DeviceDonePage({ site, end }: { site: Site; end: keyof typeof ENDS }) {
  const [title, sentence] = ENDS[end]
  return (
    <Page site={site} title={title}>
      <p role="status">{sentence}</p>
      <Links to={[[`${site.base}/`, 'Start page']]} />
    </Page>
  )
}
