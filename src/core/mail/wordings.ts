import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MAIL_KINDS, type MailKind } from '../../lib/outcomes.ts'
import { htmlOf, namesIn } from './render.ts'
import { parametersOf, TEMPLATES, type Wording } from './templates.ts'

/** The templates in use, by kind of mail. */
export type Wordings = Readonly<Record<MailKind, Wording & { html: string }>>

const ACCENT = '#2457c5'

const isKind = (name: string): name is MailKind => (MAIL_KINDS as readonly string[]).includes(name)

/**
 * Our own words, replaced file by file by those of a directory: `<kind>.txt` (the subject, an empty line, the text) and
 * `<kind>.html`. Where there is a text and no HTML, the HTML follows from the text.
 * @param directory MAIL_TEMPLATES; null: none
 * @throws Error in one sentence for a directory that cannot be read, a file of another name, or an unknown parameter
 */
export async function readWordings(directory: string | null, accent: string | null): Promise<Wordings> {
  const files = directory === null ? new Map<string, string>() : await readFiles(directory)
  const wordings = MAIL_KINDS.map((kind) => {
    const { subject, text, action } = TEMPLATES[kind]
    const own = files.get(`${kind}.txt`)
    const wording = own === undefined ? { subject, text } : parseText(`${kind}.txt`, own)
    const look = { action: own === undefined ? action : null, accent: accent ?? ACCENT }
    const html = files.get(`${kind}.html`) ?? htmlOf(wording.text, look)
    for (const [name, template] of files) {
      if (name === `${kind}.txt` || name === `${kind}.html`) requireKnown(name, template, parametersOf(kind))
    }
    return [kind, { ...wording, html }] as const
  })
  return Object.fromEntries(wordings) as Wordings
}

async function readFiles(directory: string): Promise<Map<string, string>> {
  const names = await readdir(directory).catch((error: Error) =>
    failTemplates(`cannot be read: ${error.message}`),
  )
  const files = names.map(async (name) => {
    const [, kind = ''] = /^(.+)\.(?:txt|html)$/.exec(name) ?? []
    if (!isKind(kind)) {
      failTemplates(
        `has ${JSON.stringify(name)}; a file is named by a kind of mail (${MAIL_KINDS.join(', ')}) and .txt or .html`,
      )
    }
    const text = await readFile(join(directory, name), 'utf8').catch((error: Error) =>
      failTemplates(`${name} cannot be read: ${error.message}`),
    )
    return [name, text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n')] as const
  })
  return new Map(await Promise.all(files))
}

function parseText(name: string, file: string): Wording {
  const [, subject = '', text = ''] = /^([^\n]+)\n\n(.+)$/s.exec(file) ?? []
  if (subject.trim() === '' || text.trim() === '')
    failTemplates(`${name} must be the subject on the first line, an empty line, and the text`)
  return { subject: subject.trim(), text: text.trim() }
}

function requireKnown(name: string, template: string, known: readonly string[]): void {
  const unknown = namesIn(template).find((parameter) => !known.includes(parameter))
  if (unknown !== undefined) failTemplates(`${name} names {{${unknown}}}; it may name ${known.join(', ')}`)
  // Other braces would appear unchanged in the mail.
  if (/\{\{|\}\}/.test(template.replace(/\{\{ *\w+ *\}\}/g, '')))
    failTemplates(`${name} has braces that enclose no parameter; write {{name}}`)
}

function failTemplates(what: string): never {
  throw new Error(`MAIL_TEMPLATES ${what}`)
}

/** Our own templates as files, to begin with. */
export async function listTemplateFiles(accent: string | null): Promise<{ name: string; text: string }[]> {
  const wordings = await readWordings(null, accent)
  return MAIL_KINDS.flatMap((kind) => {
    const { subject, text, html } = wordings[kind]
    return [
      { name: `${kind}.txt`, text: `${subject}\n\n${text}\n` },
      { name: `${kind}.html`, text: html },
    ]
  })
}
