import type { MailKind } from '../../lib/outcomes.ts'

/** A mail as it is written by hand: `{{name}}` stands for a parameter. */
export type Wording = { subject: string; text: string }

export type Template = Wording & {
  /** The parameters that it may name, besides those of every mail. */
  parameters: readonly string[]
  /** The text of the button of our own HTML; null: the mail has no link. */
  action: string | null
  /** The page that takes the token of `link`; null: the mail carries no token. */
  page: string | null
}

/** What every mail may name: the name of the service, the address that it goes to, and where the service is. */
const COMMON_PARAMETERS = ['brand', 'email', 'public_url'] as const

const NOT_YOU =
  'If this was not you, set a new password at {{forgot_password_url}} and look at your sessions and keys.'

/** The subject and the text of every mail. `link` is the link with the token; it stands in a paragraph of its own. */
export const TEMPLATES: Record<MailKind, Template> = {
  verify_email: {
    subject: 'Confirm your e-mail address for {{brand}}',
    text: `Somebody, most likely you, gave {{email}} as an address at {{brand}}. Confirm that it is yours within 24 hours:

{{link}}

The link works once. If it was not you, ignore this mail.`,
    parameters: ['link'],
    action: 'Confirm the address',
    page: '/verify-email',
  },
  account_exists: {
    subject: 'You already have an account at {{brand}}',
    text: `Somebody, most likely you, gave {{email}} as the address of an account at {{brand}}. There is an account with this address already. Nothing was changed.

Log in here:

{{login_url}}

If you do not know the password, set a new one: {{forgot_password_url}}

If it was not you, ignore this mail.`,
    parameters: ['login_url', 'forgot_password_url'],
    action: 'Log in',
    page: null,
  },
  reset_password: {
    subject: 'Set a new password for {{brand}}',
    text: `A new password was asked for, for the account of {{email}} at {{brand}}. Set it within 30 minutes:

{{link}}

The link works once. Setting it ends every session. If it was not you, ignore this mail: nothing was changed.`,
    parameters: ['link'],
    action: 'Set a new password',
    page: '/reset-password',
  },
  reset_password_unverified: {
    subject: 'Set a new password for {{brand}}',
    text: `A new password was asked for, for the account of {{email}} at {{brand}}. Set it within 30 minutes:

{{link}}

The link works once. If it was not you, ignore this mail: nothing was changed.

This address was never confirmed, so somebody else may have made the account. Setting a new password therefore confirms the address and removes everything from before: sessions, API keys, passkeys, authenticator apps and recovery codes. Service accounts that this account alone manages are disabled.`,
    parameters: ['link'],
    action: 'Set a new password',
    page: '/reset-password',
  },
  invitation: {
    subject: 'You are invited to {{brand}}',
    text: `An account at {{brand}} was made for {{email}}. Choose a password within 72 hours to begin:

{{link}}

The link works once. If you did not expect this, ignore this mail.`,
    parameters: ['link'],
    action: 'Choose a password',
    page: '/reset-password',
  },
  new_sign_in: {
    subject: 'New sign-in to your account at {{brand}}',
    text: `Your account was signed in to from a browser and a network that were not seen before.

Time: {{time}}
Address: {{ip}}
Browser: {{user_agent}}

${NOT_YOU}`,
    parameters: ['time', 'ip', 'user_agent', 'forgot_password_url'],
    action: null,
    page: null,
  },
  password_changed: {
    subject: 'Your password for {{brand}} was changed',
    text: `The password of your account was changed on {{time}}.

${NOT_YOU}`,
    parameters: ['time', 'forgot_password_url'],
    action: null,
    page: null,
  },
  email_changed: {
    subject: 'Your e-mail address at {{brand}} was changed',
    text: `The address of your account was changed on {{time}}, from {{email}} to {{new_email}}. Mails about the account go there from now on.

If this was not you, ask an administrator of {{brand}} for help at once.`,
    parameters: ['time', 'new_email'],
    action: null,
    page: null,
  },
  second_factor_changed: {
    subject: 'The second factors of your account at {{brand}} were changed',
    text: `{{change}} Time: {{time}}.

${NOT_YOU}`,
    parameters: ['change', 'time', 'forgot_password_url'],
    action: null,
    page: null,
  },
  recovery_code_used: {
    subject: 'A recovery code was used at {{brand}}',
    text: `Somebody signed in to your account with one of its recovery codes on {{time}}. Codes that are left: {{codes_left}}.

${NOT_YOU}`,
    parameters: ['time', 'codes_left', 'forgot_password_url'],
    action: null,
    page: null,
  },
  passkey_suspended: {
    subject: 'A passkey of yours was suspended at {{brand}}',
    text: `The passkey "{{passkey}}" was used in a way that suggests that there is a copy of it. It was refused on {{time}} and works no more.

Sign in in another way, remove it, and add a new one.`,
    parameters: ['passkey', 'time'],
    action: null,
    page: null,
  },
  second_step_locked: {
    subject: 'Somebody knows your password for {{brand}}',
    text: `Somebody entered your right password, and then wrong codes five times in a row, the last one on {{time}}. Codes are refused for a while.

If this was not you, somebody knows your password: set a new one at {{forgot_password_url}}`,
    parameters: ['time', 'forgot_password_url'],
    action: null,
    page: null,
  },
  key_revoked: {
    subject: 'API keys of yours were revoked at {{brand}}',
    text: `Somebody else revoked these API keys of yours on {{time}}. They work no more.

{{keys}}

Reason: {{reason}}`,
    parameters: ['keys', 'reason', 'time'],
    action: null,
    page: null,
  },
  keys_expiring: {
    subject: 'API keys of yours expire soon at {{brand}}',
    text: `These API keys expire soon. What uses them will be refused then:

{{keys}}

Make new ones in time, or rotate them.`,
    parameters: ['keys'],
    action: null,
    page: null,
  },
  test: {
    subject: 'A test mail from {{brand}}',
    text: `{{brand}} at {{public_url}} can send mails.`,
    parameters: [],
    action: null,
    page: null,
  },
}

/** The names that a template of a kind may use. */
export const parametersOf = (kind: MailKind): readonly string[] => [
  ...COMMON_PARAMETERS,
  ...TEMPLATES[kind].parameters,
]
