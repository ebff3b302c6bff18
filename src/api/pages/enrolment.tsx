import { raw } from 'hono/html'
import type { PendingTotp } from '../../core/second-factors/model.ts'
import { Field, Form, Page, PasskeyButton, Refusal, type Site } from './components.tsx'

type Props = {
  site: Site
  hasPasskeys: boolean
  returnTo: string | null
  /** Where the person goes afterwards. */
  next: string
  /** What an authenticator app is set up with; null: not asked for yet. */
  pending: PendingTotp | null
  /** Whether a code is asked for: the secret was shown on a page before. */
  asksCode: boolean
  refusal: string | null
}

/** `/login/enrol` */
export function EnrolmentPage({ site, hasPasskeys, returnTo, next, pending, asksCode, refusal }: Props) {
  const action = `${site.base}/login/enrol`
  const hidden = { return_to: returnTo }
  const asks = pending !== null || asksCode
  return (
    <Page site={site} title="Set up a second factor">
      <Refusal sentence={refusal} />
      {pending === null ? (
        <p>Beside your password, you need an authenticator app or a passkey to sign in here.</p>
      ) : (
        <>
          <p>Scan this with your authenticator app, or type the key into it.</p>
          {/* The one text that is not escaped: we make it ourselves, of squares alone. */}
          <div class="qr" role="img" aria-label="QR code of the key">
            {raw(pending.qr_svg)}
          </div>
          <p>
            Key: <code>{pending.secret.replace(/.{4}(?=.)/g, '$& ')}</code>
          </p>
        </>
      )}
      {asks && (
        <Form action={action} hidden={hidden} button="Confirm">
          <Field
            name="code"
            label="Code that the app shows"
            autocomplete="one-time-code"
            inputMode="numeric"
            isFocused
          />
        </Form>
      )}
      {pending === null && (
        <Form
          action={action}
          hidden={hidden}
          button={asks ? 'Show another QR code' : 'Set up an authenticator app'}
        />
      )}
      {hasPasskeys && pending === null && (
        <PasskeyButton does="enrol" site={site} next={next}>
          Set up a passkey
        </PasskeyButton>
      )}
      <div data-passkey-codes hidden>
        <Codes codes={[]} next={next} />
      </div>
    </Page>
  )
}

/** What follows a first second factor: the recovery codes, this once. */
export function RecoveryCodesPage({
  site,
  codes,
  next,
}: {
  site: Site
  codes: readonly string[]
  next: string
}) {
  return (
    <Page site={site} title="Keep your recovery codes">
      <Codes codes={codes} next={next} />
    </Page>
  )
}

function Codes({ codes, next }: { codes: readonly string[]; next: string }) {
  return (
    <>
      <p>
        Each of these signs you in once when you have lost your second factor. Print them or keep them in a
        safe place: they are not shown again.
      </p>
      <ul class="codes">
        {codes.map((code) => (
          <li>
            <code>{code}</code>
          </li>
        ))}
      </ul>
      <p>
        <a class="button" href={next}>
          I have kept them
        </a>
      </p>
    </>
  )
}
