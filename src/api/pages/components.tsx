/** @jsxImportSource hono/jsx */
/**
 * What pages are made of. Text that a person or an app names is only ever put between tags or into an attribute by JSX,
 * which escapes it. `dangerouslySetInnerHTML` is used for nothing but the QR code, which we make ourselves.
 */
import type { Child } from 'hono/jsx'

/** How pages look, and where they are. */
export type Site = {
  brandName: string
  /** Whether there is a picture of BRAND_LOGO. */
  hasLogo: boolean
  /** The path of PUBLIC_URL, without a slash at its end: what every link of ours begins with. */
  base: string
}

type Children = { children: Child }

/** A whole page. `onwards`: where the browser goes on by itself. */
export function Page({
  site,
  title,
  onwards,
  children,
}: Children & { site: Site; title: string; onwards?: string }) {
  return (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        {onwards !== undefined && <meta http-equiv="refresh" content={`0;url=${onwards}`} />}
        <title>{`${title} · ${site.brandName}`}</title>
        <link rel="icon" href={site.hasLogo ? `${site.base}/pages/logo` : 'data:,'} />
        <link rel="stylesheet" href={`${site.base}/pages/style.css`} />
        <script src={`${site.base}/pages/page.js`} defer />
      </head>
      <body>
        <main>
          <header>
            {site.hasLogo ? (
              <img src={`${site.base}/pages/logo`} alt={site.brandName} />
            ) : (
              <span class="brand">{site.brandName}</span>
            )}
          </header>
          <h1>{title}</h1>
          {children}
        </main>
      </body>
    </html>
  )
}

/** What went wrong, read out by a screen reader as soon as the page is there. */
export function Refusal({ sentence }: { sentence: string | null }) {
  if (sentence === null) return null
  return (
    <p class="refusal" role="alert">
      {sentence}
    </p>
  )
}

/** What was done, read out by a screen reader. */
export function Notice({ sentence }: { sentence: string | undefined }) {
  if (sentence === undefined) return null
  return (
    <p class="notice" role="status">
      {sentence}
    </p>
  )
}

/** A form that posts to its own page. Fields that are null are left out. */
export function Form({
  action,
  hidden = {},
  button,
  id,
  children,
}: Partial<Children> & {
  action: string
  hidden?: Record<string, string | null>
  button: string
  id?: string
}) {
  return (
    <form method="post" action={action} {...(id !== undefined && { id })}>
      {Object.entries(hidden).map(([name, value]) =>
        value === null ? null : <input type="hidden" name={name} value={value} />,
      )}
      {children}
      <button type="submit">{button}</button>
    </form>
  )
}

type FieldProps = {
  name: string
  label: string
  type?: 'email' | 'text'
  autocomplete: string
  value?: string
  hint?: string
  isFocused?: boolean
  isOptional?: boolean
  inputMode?: 'numeric'
}

/** One line of a form, with its label. */
export function Field({
  name,
  label,
  type = 'text',
  autocomplete,
  value,
  hint,
  isFocused = false,
  isOptional = false,
  inputMode,
}: FieldProps) {
  return (
    <div class="field">
      <label for={name}>{label}</label>
      <input
        id={name}
        name={name}
        type={type}
        autocomplete={autocomplete}
        required={!isOptional}
        autofocus={isFocused}
        autocapitalize="none"
        spellcheck={false}
        {...(value !== undefined && { value })}
        {...(inputMode && { inputMode })}
        {...(hint !== undefined && { 'aria-describedby': `${name}-hint` })}
      />
      {hint !== undefined && (
        <p class="hint" id={`${name}-hint`}>
          {hint}
        </p>
      )}
    </div>
  )
}

/** A password. The script of the page adds a button that shows it. */
export function PasswordField({
  name,
  label,
  autocomplete,
  hint,
}: {
  name: string
  label: string
  autocomplete: 'current-password' | 'new-password'
  hint?: string
}) {
  return (
    <div class="field">
      <label for={name}>{label}</label>
      <div class="password">
        <input
          id={name}
          name={name}
          type="password"
          autocomplete={autocomplete}
          required
          {...(hint !== undefined && { 'aria-describedby': `${name}-hint` })}
        />
        <button type="button" class="show" data-shows={name} hidden>
          Show
        </button>
      </div>
      {hint !== undefined && (
        <p class="hint" id={`${name}-hint`}>
          {hint}
        </p>
      )}
    </div>
  )
}

/**
 * A button that asks for a passkey, by the script of the page: it stays hidden without the script, and where the browser
 * has no passkeys.
 */
export function PasskeyButton({
  does,
  site,
  next,
  children,
}: Children & { does: 'login' | 'verify' | 'enrol'; site: Site; next: string }) {
  return (
    <>
      <button type="button" class="plain" data-passkey={does} data-base={site.base} data-next={next} hidden>
        {children}
      </button>
      <p class="refusal" role="alert" data-passkey-refusal hidden />
    </>
  )
}

/** Where else a person may want to go. */
export function Links({ to }: { to: readonly (readonly [href: string, text: string])[] }) {
  return (
    <nav>
      {to.map(([href, text]) => (
        <a href={href}>{text}</a>
      ))}
    </nav>
  )
}
