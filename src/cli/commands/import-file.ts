import type { Io } from '../terminal.ts'

/** The size of an import by HTTP; what is larger comes in parts. It has to fit into a request to a running server. */
const MAX_BYTES = 8 * 1024 * 1024
const STDIN = '-'

/** The positional and the option of an import from a file. */
export const fileArguments = {
  positionals: {
    file: { label: 'FILE', summary: 'A JSON array, or a JSON object a line, in UTF-8; - is standard input' },
  },
  options: { 'dry-run': { summary: 'Report what would be done, and do nothing' } },
} as const

/**
 * The text of a file, or of standard input, from where the person sits.
 * @throws Error with one sentence where it cannot be read, is no text or too long
 */
export async function readImportFile(io: Io, file: string): Promise<string> {
  const text = file === STDIN ? await io.readAll() : await readFile(file)
  if (Buffer.byteLength(text) > MAX_BYTES) throw new Error(TOO_LONG)
  if (text.includes('\0')) throw new Error('the file is no text: it has NUL in it')
  return text
}

const TOO_LONG = 'the file has more than 8 MiB: split it, for example by lines, and import the parts'

async function readFile(path: string): Promise<string> {
  const file = Bun.file(path)
  if (file.size > MAX_BYTES) throw new Error(TOO_LONG)
  const bytes = await file.bytes()
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new Error('the file is no text in UTF-8')
  }
}
