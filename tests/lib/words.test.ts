import { expect, test } from 'bun:test'
import { Glob } from 'bun'
import { parseSync } from 'oxc-parser'

/** The files whose comments, or whole text outside of code, are checked, below the root of the repository. */
const FILES = [
  'src/**/*.ts',
  'client/**/*.ts',
  '{bench,scripts}/**/*.{ts,lua}',
  '{examples,tests}/**/*.ts',
  'drizzle/*.sql',
  '*.md',
  '{docs,deploy,examples,bench}/**/*.md',
]
/** Pronouns without a noun, and words with a private meaning. CONTRIBUTING names the word for each thing. */
const UNCLEAR =
  /\b(whoever|whomever|nobody|judg(?:e|es|ed|ing)|admit(?:s|ted|ting)?|sweep(?:s|ing)?|swept|allowances?|doors?|beats?|is none)\b/i
/** The unclear words in the comments of a file. Names in backticks are not checked. */
function findUnclear(path: string, text: string): string[] {
  return commentsOf(path, text).flatMap((comment) => {
    const [word] = UNCLEAR.exec(comment.replace(/`[^`]*`/g, '').replace(/\s+(?:\* )?/g, ' ')) ?? []
    return word === undefined ? [] : [`${path}: "${word}" in: ${comment}`]
  })
}

/**
 * The comments of a file, or the paragraphs of a page. Consecutive one-line comments are joined, because a sentence
 * continues in them.
 */
function commentsOf(path: string, text: string): string[] {
  if (path.endsWith('.md')) return text.replace(/^ *```[\s\S]*?^ *```/gm, '').split(/\n(?=\s*\n|[-|])/)
  const isScript = path.endsWith('.ts')
  const mark = isScript ? '//' : /\.(sql|lua)$/.test(path) ? '--' : path.endsWith('.ini') ? ';' : '#'
  const comments = isScript
    ? parseSync(path, text).comments.map(({ start, end }) => text.slice(start, end))
    : text.split('\n').flatMap((line) => (line.includes(mark) ? [line.slice(line.indexOf(mark))] : []))
  const joined: string[] = []
  for (const comment of comments) {
    if (joined.at(-1)?.startsWith(mark) && comment.startsWith(mark))
      joined.push(`${joined.pop()} ${comment.slice(mark.length)}`)
    else joined.push(comment)
  }
  return joined
}

test('comments name the thing in the words of the field', async () => {
  const found: string[] = []
  let files = 0
  const cwd = `${import.meta.dir}/../..`
  for (const pattern of FILES)
    for (const path of new Glob(pattern).scanSync({ cwd })) {
      files += 1
      found.push(...findUnclear(path, await Bun.file(`${cwd}/${path}`).text()))
    }
  expect(files).toBeGreaterThan(300)
  expect(found).toEqual([])
})

test.each([
  ['a.ts', '/** A credential that is\n * none counts by itself. */'],
  ['a.ts', "const url = 'http://a' // Whoever asks."],
  ['a.ts', '// What the guard\n// admits.'],
  ['a.sql', 'SELECT 1; -- Nobody is told.'],
  ['a.lua', 'local a = 1\n-- At every door.'],
  ['a.yaml', 'a: 1 # One of many sweeps.'],
  ['a.md', '# A page\n\nThe key, and\nwhoever holds it.'],
])('an unclear word in a comment is found: %s %p', (path, text) => {
  expect(findUnclear(path, text)).toHaveLength(1)
})

test.each([
  ["const word = 'nobody' // The user `nobody`.", 'code and names in backticks'],
  ['// The heartbeat, an admin and an administrator.', 'longer words'],
])('%p is not: %s', (text) => {
  expect(findUnclear('a.ts', text)).toEqual([])
})
