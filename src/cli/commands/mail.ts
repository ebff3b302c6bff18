import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { SYSTEM } from '../../core/audit/audit.ts'
import { listOutbox, presentMail, retryMail, sendTestMail } from '../../core/mail/outbox.ts'
import { listTemplateFiles } from '../../core/mail/wordings.ts'
import { OPERATOR } from '../../core/principal.ts'
import { DEFAULT_LIMIT, pageOptions } from '../arguments.ts'
import { defineCommand } from '../command.ts'
import { counted, table } from '../terminal.ts'

/** `latchkey mail …` */
export const commands = {
  'mail test': defineCommand({
    kind: 'service',
    details: 'Says what the mail server answered. It is tried once, for ten seconds at most.',
    examples: ['mail test --to you@example.com'],
    options: { to: { takes: 'ADDRESS', required: true, summary: 'Where the mail goes' } },
    async run(context, { to }) {
      await sendTestMail(context, to)
      return { to }
    },
    show: ({ to }) => `The mail server took a mail to ${to}.`,
  }),

  'mail list': defineCommand({
    kind: 'service',
    details: `
"waiting" is tried until 24 hours after it was written; "sent" was taken by the mail server; "failed" was given
up. A mail is listed for seven days after its end.`,
    examples: ['mail list --failed'],
    options: { failed: { summary: 'Only those that were given up' }, ...pageOptions },
    async run(context, { failed, limit, cursor }) {
      const page = await listOutbox(context, {
        status: failed ? 'failed' : null,
        limit: Number(limit ?? DEFAULT_LIMIT),
        cursor,
      })
      return { items: page.rows.map(presentMail), next_cursor: page.nextCursor }
    },
    show({ items, next_cursor }) {
      const rows = items.map((mail) => [
        mail.id,
        mail.kind,
        mail.to,
        mail.status,
        String(mail.attempts),
        mail.created_at,
        mail.last_error ?? '',
      ])
      const names = ['ID', 'KIND', 'TO', 'STATUS', 'TRIES', 'WRITTEN', 'LAST ERROR']
      const list = table(names, rows) || 'No mails.'
      return next_cursor === null ? list : `${list}\nThere are more: --cursor ${next_cursor}`
    },
  }),

  'mail retry': defineCommand({
    kind: 'service',
    details: `
The server sends it within seconds. Of a mail that is older than 24 hours it is the only try, and one whose link is used,
void or over is given up again.`,
    examples: ['mail retry 01a21af9-ee47-7756-98d7-d26e04e2ac06'],
    positionals: { id: { label: 'ID', summary: 'The mail, as "mail list" shows it' } },
    run: async (context, { id }) => presentMail(await retryMail(context, SYSTEM, OPERATOR, id)),
    show: ({ id, to }) => `The mail ${id} to ${to} is due.`,
  }),

  'mail templates': defineCommand({
    kind: 'local',
    details: `
Writes the words of every mail, to begin with: change what you like, delete the rest, and set MAIL_TEMPLATES to the
directory. Files that are there already are not overwritten.`,
    examples: ['mail templates --to ./mails'],
    options: {
      to: { takes: 'DIR', required: true, summary: 'The directory; it is made where it is missing' },
    },
    async run({ config }, { to }) {
      await mkdir(to, { recursive: true })
      const files = await listTemplateFiles(config.brandAccent)
      for (const { name, text } of files) await writeFile(join(to, name), text, { flag: 'wx' })
      return { directory: to, files: files.map(({ name }) => name) }
    },
    show: ({ directory, files }) => `${counted(files.length, 'file')} written to ${directory}.`,
  }),
}
