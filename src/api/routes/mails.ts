import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { MAIL_STATUSES, Mail, MailPage, TestMail } from '../../core/mail/model.ts'
import { listOutbox, presentMail, queueTestMail, retryMail } from '../../core/mail/outbox.ts'
import { wordOf } from '../../lib/model.ts'
import type { Guard } from '../auth.ts'
import { describe } from '../openapi/describe.ts'
import { pageQuery, presentPage } from '../page.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'

const MailQuery = Type.Object({
  status: Type.Optional(wordOf(MAIL_STATUSES, '`waiting`: also those that are tried again')),
  ...pageQuery,
})

/** The outbox: mails that wait, and those of the last seven days. */
export const mailRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/mails', tags: ['Administration'] })
    .use(guard)
    .get('/', async ({ query }) => presentPage(await listOutbox(context, query), presentMail), {
      ...NEEDS['GET /mails'],
      query: MailQuery,
      response: { 200: MailPage },
      detail: describe('listMails', 'Mails, newest first', {
        description: 'Without their words and links. A mail is listed for seven days after its end.',
      }),
    })
    .post(
      '/test',
      async ({ auth, body, state, status }) =>
        status(202, presentMail(await queueTestMail(context, originOf(state), auth, body.to))),
      {
        ...NEEDS['POST /mails/test'],
        body: TestMail,
        response: { 202: Mail },
        detail: describe('sendTestMail', 'Send a mail that tells nothing', {
          description: 'It is sent at once; the list says what became of it.',
          errors: ['conflict'],
        }),
      },
    )
    .post(
      '/:id/retry',
      async ({ auth, params, state, status }) =>
        status(202, presentMail(await retryMail(context, originOf(state), auth, params.id))),
      {
        ...NEEDS['POST /mails/:id/retry'],
        response: { 202: Mail },
        detail: describe('retryMail', 'Try a mail again that waits or was given up', {
          description:
            'Of a mail that is older than 24 hours it is the only try, and one whose link is used, void or over is given up again.',
          errors: ['conflict'],
        }),
      },
    )
