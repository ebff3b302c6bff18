import { Glob } from 'bun'
import { parseSync } from 'oxc-parser'
import { faultOfCost } from './cost.ts'

const ROOT = `${import.meta.dir}/../..`

/** A part of the source that reads text: a regular expression, or a call that may create or contain one. */
export type Reader = { file: string; kind: 'literal' | 'made' | 'pattern' | 'normalize'; text: string }

/**
 * Finds every regular expression in a folder's TypeScript, every pattern of a schema, and every `normalize`.
 */
export async function findReaders(folder: string): Promise<Reader[]> {
  const found: Reader[] = []
  for (const path of new Glob('**/*.ts').scanSync({ cwd: `${ROOT}/${folder}` })) {
    const file = `${folder}/${path}`
    found.push(...readersOf(file, await Bun.file(`${ROOT}/${file}`).text()))
  }
  return found.sort((a, b) => (a.file < b.file ? -1 : 1))
}

type Node = Record<string, unknown> & { type?: string; start?: number; end?: number }

/** The same for one file. */
export function readersOf(file: string, source: string): Reader[] {
  const found: Reader[] = []
  const textOf = (node: Node) => source.slice(node.start, node.end)
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(visit)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return
    const node = value as Node
    const kind = kindOf(node)
    if (kind !== null)
      found.push({ file, kind, text: textOf(kind === 'pattern' ? (node.value as Node) : node) })
    for (const child of Object.values(node)) visit(child)
  }
  visit(parseSync(file, source).program)
  return found
}

function kindOf(node: Node): Reader['kind'] | null {
  if (node.type === 'Literal' && node.regex) return 'literal'
  if (node.type === 'Property' && nameOf(node.key) === 'pattern') return 'pattern'
  if (node.type !== 'CallExpression' && node.type !== 'NewExpression') return null
  const callee = node.callee as Node
  if (callee.type === 'Identifier') return nameOf(callee) === 'RegExp' ? 'made' : null
  return nameOf(callee.property) === 'normalize' ? 'normalize' : null
}

const nameOf = (node: unknown) => (node as { name?: string } | undefined)?.name

/** The regular expression of a literal. */
export function expressionOf(literal: string): RegExp {
  const end = literal.lastIndexOf('/')
  return new RegExp(literal.slice(1, end), literal.slice(end + 1))
}

const USUAL = ['a', '0', ' ', '.', '-', '_', ':', '/', '@', '"', '\\', '\u0301']

/**
 * Tries the worst known inputs for an expression: each of its own beginnings, then one or two repeated
 * characters, then an end that does not match.
 * @returns what is wrong with the cost, or null
 */
export function faultOfExpression(expression: RegExp): string | null {
  // Classes such as \d separate words; an escaped character stands for itself.
  const source = expression.source.replace(/\\[A-Za-z]/g, '|').replace(/\\(.)/g, '$1')
  const words = [...new Set(source.split(/[^A-Za-z0-9 $:/_="-]+/).filter((word) => word !== ''))]
  const own = [...source].filter((character) => /[^()[\]{}|?*\\^]/.test(character))
  const characters = [...new Set([...own, ...USUAL])]
  const units = [...characters, ...words, ...words.flatMap((word) => [`-${word}`, `${word}a`, `${word}a:`])]
  const work = (text: string) => text.replace(expression, '')
  for (const beginning of [
    '',
    ...words,
    ...words.map((word) => `${word} `),
    ...words.map((word) => `${word}a.`),
  ]) {
    for (const unit of new Set(units)) {
      for (const end of ['', '\0', ' \0']) {
        const textOf = (length: number) => beginning + unit.repeat(Math.ceil(length / unit.length)) + end
        const fault = faultOfCost(work, textOf)
        if (fault !== null)
          return `${fault}: ${JSON.stringify(beginning + unit + unit)}…${JSON.stringify(end)}`
      }
    }
  }
  return null
}
