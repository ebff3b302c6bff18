import { describe, expect, test } from 'bun:test'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { COMMANDS } from '../../src/cli/commands.ts'
import * as scopes from '../../src/lib/scopes.ts'

const read = (path: string) => readFileSync(path, 'utf8')
const pages = readdirSync('docs').filter((name) => name.endsWith('.md'))
const documents = ['README.md', 'SECURITY.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'bench/README.md'].concat(
  pages.map((name) => `docs/${name}`),
)

/** The names of a heading in links, as GitHub makes them. */
const anchorsOf = (text: string) =>
  [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )

/** What a document links to in this repository and does not find there. */
function brokenLinks(path: string, text: string): string[] {
  const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target)
  return links.filter((link) => {
    if (/^[a-z]+:/.test(link)) return false
    const [file = '', anchor] = link.split('#')
    const target = file === '' ? path : join(dirname(path), file)
    if (!existsSync(target)) return true
    return anchor !== undefined && !anchorsOf(read(target)).includes(anchor)
  })
}

describe('the documents', () => {
  test.each(documents)('%s links to what there is', (path) =>
    expect(brokenLinks(path, read(path))).toEqual([]),
  )

  test('a link that leads nowhere is found', () => {
    const text = '[a](docs/nowhere.md) [b](docs/scopes.md#nowhere) [c](docs/scopes.md#what-a-ceiling-is)'
    expect(brokenLinks('README.md', text)).toEqual(['docs/nowhere.md', 'docs/scopes.md#nowhere'])
  })

  test('docs/README.md lists every page', () => {
    const index = read('docs/README.md')
    for (const page of pages) if (page !== 'README.md') expect(index).toContain(`](${page})`)
  })

  test.each(pages.filter((name) => name !== 'README.md'))(
    'docs/%s says at its top whom it is for',
    (name) => {
      const [, top = ''] = read(`docs/${name}`).split('\n\n')
      expect(top.replaceAll('\n', ' ')).toMatch(/^For .*This page lets you .*\./)
    },
  )
})

test("docs/scopes.md has a row for each of Latchkey's own scopes", () => {
  const own = Object.values(scopes).filter((value) => typeof value === 'string')
  const names = own.filter((value) => value !== scopes.RESERVED_PREFIX)
  const rows = [...read('docs/scopes.md').matchAll(/^\| `(latchkey:[a-z.-]+)` \|/gm)].map(([, name]) => name)
  expect(names).toContain(scopes.VERIFY)
  expect(rows.toSorted()).toEqual(names.toSorted())
})

test('README.md lists the commands that there are', () => {
  const section = read('README.md').split('\n## Command line\n')[1]?.split('\n## ')[0] ?? ''
  // `keys create\|list` stands for two commands: in a table the bar is escaped.
  const listed = [...section.matchAll(/^\| `([a-z-]+)(?: ([a-z|\\-]+))?` \|/gm)].flatMap(([, noun, verbs]) =>
    verbs === undefined ? [noun] : verbs.split('\\|').map((verb) => `${noun} ${verb}`),
  )
  expect(listed.toSorted()).toEqual(COMMANDS.map(({ name }) => name).toSorted())
})
