import { parseArgs } from 'node:util'
import { listOf } from '../config/reader.ts'
import { findClose } from '../lib/typos.ts'
import type { Command, OptionSpec } from './command.ts'

/** How many items a command lists without `--limit`. */
export const DEFAULT_LIMIT = 100
const MAX_LIMIT = 10_000

/** The options of commands that list in pages. */
export const pageOptions = {
  limit: { takes: 'N', range: [1, MAX_LIMIT], summary: `The maximum number of items (${DEFAULT_LIMIT})` },
  cursor: { takes: 'CURSOR', summary: 'Continue after the previous page' },
} as const

type Value = string | boolean | undefined
/** The checked arguments by name, and the options of every command. */
export type Parsed = { args: Record<string, Value>; json: boolean; help: boolean }

/** Parses the words after a command's name by its specs. A fault is a sentence about the mistake. */
export function parseArguments(command: Command, argv: readonly string[]): Parsed | { fault: string } {
  const specs = command.options ?? {}
  const isData = command.kind !== 'process'
  const flag = { type: 'boolean' } as const
  const options = Object.fromEntries(
    Object.entries(specs).map(([name, { takes }]) => [
      name,
      { type: takes ? ('string' as const) : flag.type },
    ]),
  )
  const parsed = attempt(() =>
    parseArgs({
      args: [...argv],
      options: { ...options, help: { ...flag, short: 'h' }, ...(isData && { json: flag }) },
      allowPositionals: true,
      strict: true,
    }),
  )
  if ('fault' in parsed)
    return { fault: `${parsed.fault}${suggestOption(parsed.fault, argv, Object.keys(specs))}` }
  const values: Record<string, Value> = { ...parsed.values }
  const { help = false, json = false } = values
  if (help === true) return { args: {}, json: false, help }

  const args: Record<string, Value> = {}
  const positionals = Object.entries(command.positionals ?? {})
  for (const [at, [name, { label, choices }]] of positionals.entries()) {
    const word = parsed.positionals[at]
    if (word === undefined) return { fault: `${label} is missing` }
    if (choices && !choices.includes(word))
      return { fault: `${label} must be ${listOf(choices)}, not "${word}"` }
    args[name] = word
  }
  const extra = parsed.positionals[positionals.length]
  if (extra !== undefined) return { fault: `"${extra}" is one word too many` }
  for (const [name, spec] of Object.entries(specs)) {
    const value = values[name] ?? (spec.takes ? undefined : false)
    if (spec.required && !value) return { fault: `${spellOption(name, spec)} is missing` }
    const fault = typeof value === 'string' ? faultOf(spec, value) : null
    if (fault !== null) return { fault: `--${name} must be ${fault}, not "${value}"` }
    args[name] = value
  }
  return { args, json: json === true, help: false }
}

/** Which option a mistyped one was probably meant to be, for the end of the fault that names it. */
function suggestOption(fault: string, argv: readonly string[], known: readonly string[]): string {
  const given = argv.flatMap((word) => (word.startsWith('--') ? [word.slice(2).split('=')[0] ?? ''] : []))
  const unknown = given.find((name) => fault.includes(`'--${name}'`) && !known.includes(name))
  const meant = unknown === undefined ? undefined : findClose(unknown, [...known, 'json', 'help'])
  return meant === undefined ? '' : `; did you mean --${meant}?`
}

/** `--name VALUE`, or `--name` for a flag. */
export function spellOption(name: string, { takes }: OptionSpec): string {
  return takes ? `--${name} ${takes}` : `--${name}`
}

/** Describes the values that an option accepts. null if `value` is one of them. */
function faultOf({ choices, range }: OptionSpec, value: string): string | null {
  if (choices && !choices.includes(value)) return listOf(choices)
  if (!range) return null
  const [least, greatest] = range
  const isWithin = /^\d{1,9}$/.test(value) && Number(value) >= least && Number(value) <= greatest
  return isWithin ? null : `a whole number from ${least} to ${greatest}`
}

function attempt<R extends object>(parse: () => R): R | { fault: string } {
  try {
    return parse()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    // Only the first sentence: the rest explains how to pass a positional that looks like an option.
    return { fault: message.split('. ')[0] ?? message }
  }
}
