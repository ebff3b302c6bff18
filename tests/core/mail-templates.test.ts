import { expect, test } from 'bun:test'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openMail } from '../../src/core/mail/mail.ts'
import { fillHtml, fillSubject, fillText } from '../../src/core/mail/render.ts'
import { parametersOf } from '../../src/core/mail/templates.ts'
import { MAIL_KINDS, type MailKind } from '../../src/lib/outcomes.ts'
import { emptyDirectory } from '../support/binary.ts'
import { runInProcess } from '../support/command-line.ts'
import { testConfig } from '../support/config.ts'

const wordingsOf = async (mailTemplates: string | null) =>
  (await openMail(testConfig({ mailTemplates }))).wordings
/** A value for each parameter that tries to break out. */
const evil = (kind: MailKind) =>
  Object.fromEntries(parametersOf(kind).map((name) => [name, `<b>"'&{{brand}}\r\nBcc: ${name}@example.com`]))

test.each([...MAIL_KINDS])(
  '%s: a subject of one line, no value that is read as HTML or filled in again, nothing remote',
  async (kind) => {
    const { subject, text, html } = (await wordingsOf(null))[kind]
    const values = evil(kind)
    expect(fillSubject(subject, values)).not.toMatch(/[\r\n]/)
    expect(fillSubject(subject, values)).toContain('Bcc: brand@example.com')
    const filled = fillHtml(html, values)
    expect(filled).not.toContain('<b>')
    expect(filled).not.toContain(`"'`)
    expect(fillText(text, values)).toContain('{{brand}}')
    expect(html).toContain('prefers-color-scheme: dark')
    expect(html).not.toMatch(/<(?:img|script|link|iframe|object)|url\(|@import|https?:/i)
    // Each parameter of its own is used, so that a translation knows what there is.
    const own = parametersOf(kind).slice(3)
    for (const name of own) expect([name, `${subject}${text}`.includes(`{{${name}}}`)]).toEqual([name, true])
  },
)

test('MAIL_TEMPLATES replaces the words file by file; without an HTML of its own a text gives the HTML', async () => {
  using here = emptyDirectory()
  writeFileSync(
    join(here.path, 'verify_email.txt'),
    'Bitte bestätigen: {{brand}}\r\n\r\nHallo {{email}},\r\n\r\n{{link}}\r\n',
  )
  writeFileSync(join(here.path, 'invitation.html'), '<p>Willkommen: <a href="{{ link }}">hier</a></p>')
  const [ours, theirs] = [await wordingsOf(null), await wordingsOf(here.path)]
  expect(theirs.verify_email.subject).toBe('Bitte bestätigen: {{brand}}')
  expect(theirs.verify_email.text).toBe('Hallo {{email}},\n\n{{link}}')
  expect(theirs.verify_email.html).toContain(
    '<p>Hallo {{email}},</p>\n<p><a href="{{link}}">{{link}}</a></p>',
  )
  expect(fillHtml(theirs.invitation.html, { link: 'https://x.example/?a=1&b=2' })).toBe(
    '<p>Willkommen: <a href="https://x.example/?a=1&amp;b=2">hier</a></p>',
  )
  expect(theirs.invitation.text).toBe(ours.invitation.text)
  expect(theirs.password_changed).toEqual(ours.password_changed)
})

test.each([
  ['a file of another name', 'verify-email.txt', 'x\n\ny', 'has "verify-email.txt"'],
  ['a file of another type', 'verify_email.md', 'x\n\ny', 'has "verify_email.md"'],
  ['an unknown parameter', 'verify_email.txt', 'x\n\n{{token}}', 'verify_email.txt names {{token}}'],
  [
    'a parameter of another mail',
    'password_changed.html',
    '{{link}}',
    'password_changed.html names {{link}}',
  ],
  ['an unknown parameter in the subject', 'verify_email.txt', '{{name}}\n\ny', 'names {{name}}'],
  ['braces that enclose no parameter', 'verify_email.txt', 'x\n\n{{ link', 'braces'],
  ['no empty line', 'verify_email.txt', 'x\ny', 'an empty line'],
  ['no subject', 'verify_email.txt', '\n\ny', 'the subject'],
  ['no text', 'verify_email.txt', 'x\n\n \n', 'the text'],
])('%s stops the start', async (_, name, text, fault) => {
  using here = emptyDirectory()
  writeFileSync(join(here.path, name), text)
  await expect(wordingsOf(here.path)).rejects.toThrow(fault)
})

test('a directory that cannot be read stops the start', async () => {
  await expect(wordingsOf('/nowhere/at/all')).rejects.toThrow('MAIL_TEMPLATES cannot be read')
})

test('"mail templates" writes ours, which are taken as they are; it overwrites nothing', async () => {
  using here = emptyDirectory()
  const to = join(here.path, 'mails')
  mkdirSync(to)
  const { code, err } = await runInProcess(['mail', 'templates', '--to', to])
  expect([code, err]).toEqual([0, ''])
  expect(readdirSync(to).sort()).toEqual(MAIL_KINDS.flatMap((kind) => [`${kind}.html`, `${kind}.txt`]).sort())
  expect(await wordingsOf(to)).toEqual(await wordingsOf(null))
  writeFileSync(join(to, 'verify_email.txt'), 'mine\n\nmine\n')
  expect((await runInProcess(['mail', 'templates', '--to', to])).code).toBe(1)
  expect(readFileSync(join(to, 'verify_email.txt'), 'utf8')).toBe('mine\n\nmine\n')
})
