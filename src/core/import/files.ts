import { parseJson } from '../../lib/json.ts'
import type { Origin } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { OPERATOR } from '../principal.ts'
import { importKeyItems } from './keys.ts'
import {
  chunksOf,
  count,
  newReport,
  newTrial,
  type Outcome,
  placeReadable,
  type Report,
  refused,
  type Tell,
  type Trial,
} from './outcome.ts'
import { placeUsers } from './place-users.ts'
import { createAddressBook, readUserItem } from './user-item.ts'

/** The options of every import from the command line. */
export type ImportOptions = {
  /** A dry run: the report is the same, and nothing is written. */
  isTrial: boolean
  tell: Tell
}

/**
 * Imports the keys of a file. Each key is imported whole or refused; a refused key does not stop the others.
 * @param text of the file: a JSON array, or one JSON object per line
 * @throws Error with one sentence where the text cannot be read as a list; then nothing is imported
 */
export function importKeyFile(
  context: Context,
  origin: Origin,
  text: string,
  options: ImportOptions,
): Promise<Report> {
  return importEach('keys', text, options, (items, trial) =>
    importKeyItems(context, origin, OPERATOR, items, trial),
  )
}

/**
 * Imports the users of a file. Each user is imported whole or refused. Of several addresses that differ only in case,
 * the first is imported and the others are refused.
 * @param text of the file: a JSON array, or one JSON object per line
 * @throws Error with one sentence where the text cannot be read as a list; then nothing is imported
 */
export function importUserFile(
  context: Context,
  origin: Origin,
  text: string,
  options: ImportOptions,
): Promise<Report> {
  const addresses = createAddressBook()
  return importEach('users', text, options, (items, trial) => {
    const read = items.map((item) => {
      const user = readUserItem(context, item)
      return 'fault' in user ? user : addresses.enter(user, emailOf(item) ?? user.email)
    })
    return placeReadable(read, (users) => placeUsers(context, origin, users, trial))
  })
}

async function importEach(
  kind: keyof Report,
  text: string,
  { isTrial, tell }: ImportOptions,
  place: (items: readonly unknown[], trial: Trial | null) => Promise<Outcome[]>,
): Promise<Report> {
  const report = newReport()
  const items = readItems(text)
  const trial = newTrial(isTrial, tell)
  let at = 0
  for (const chunk of chunksOf(items)) {
    const outcomes = await place(chunk, trial)
    for (const [index, outcome] of outcomes.entries()) {
      at += 1
      // Not every item has an id, so a refusal names the place of the item in the file.
      const placed = outcome.status === 'refused' ? refused(`item ${at}: ${outcome.reason}`) : outcome
      const item = chunk[index]
      count(report, kind, placed, { id: idOf(item), email: emailOf(item) }, tell)
    }
  }
  return report
}

/** The items of a JSON array, or of one JSON object per line. */
function readItems(text: string): unknown[] {
  const start = text.trimStart()
  if (start === '') throw new Error('the file is empty: it must be a JSON array, or a JSON object a line')
  if (start.startsWith('[')) {
    const items = parse(text)
    if (Array.isArray(items)) return items
    throw new Error('the file is not valid JSON')
  }
  return text.split('\n').flatMap((line, at) => {
    if (line.trim() === '') return []
    const item = parse(line)
    if (item === undefined) throw new Error(`line ${at + 1} of the file is not valid JSON`)
    return [item]
  })
}

/**
 * Parses JSON; undefined where the text is not JSON. The parser's error is dropped, because it quotes the text, which
 * may be a secret.
 */
function parse(text: string): unknown {
  try {
    return parseJson(text)
  } catch {
    return undefined
  }
}

function member(item: unknown, name: string): unknown {
  return typeof item === 'object' && item !== null ? (item as Record<string, unknown>)[name] : undefined
}

function idOf(item: unknown): string | number | null {
  const id = member(item, 'id')
  return typeof id === 'number' || (typeof id === 'string' && id.length <= 64) ? id : null
}

function emailOf(item: unknown): string | null {
  const email = member(item, 'email') ?? member(member(item, 'owner'), 'email')
  return typeof email === 'string' ? email : null
}
