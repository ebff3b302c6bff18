import { type Static, Type } from '@sinclair/typebox'
import { Id, Instant, nullable, pageOf, wordOf } from '../../lib/model.ts'

export const MAIL_STATUSES = ['waiting', 'failed', 'sent'] as const
export type MailStatus = (typeof MAIL_STATUSES)[number]

/** A mail of the outbox as an admin sees it: without its words, and without the link that it carries. */
export const Mail = Type.Object(
  {
    id: Id,
    kind: Type.String({ examples: ['verify_email'] }),
    to: Type.String(),
    status: wordOf(MAIL_STATUSES, '`waiting`: is tried until it is a day old; `failed`: was given up'),
    attempts: Type.Integer(),
    created_at: Instant,
    next_attempt_at: nullable(Instant),
    ended_at: nullable(Instant, 'When it was sent or given up'),
    last_error: nullable(Type.String(), 'What the mail server said last'),
  },
  { $id: 'Mail' },
)
export type Mail = Static<typeof Mail>

export const MailPage = pageOf(Mail, 'MailPage')
export type MailPage = Static<typeof MailPage>

export const TestMail = Type.Object(
  { to: Type.String({ minLength: 3, maxLength: 254 }) },
  { $id: 'TestMail', additionalProperties: false },
)
export type TestMail = Static<typeof TestMail>
