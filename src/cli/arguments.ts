import { parseArgs } from 'node:util'
import { listOf } from '../config/reader.ts'
import type { Command } from './command.ts'

type Value = string | boolean | undefined
/** Checked arguments by name, and what every command takes. */
export type Parsed = { args: Record<string, Value>; json: boolean; help: boolean }

/** Reads what follows a command's name against its specs; a fault is a sentence about the wrong use. */
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
  if ('fault' in parsed) return parsed
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
  for (const [name, { takes, required, choices }] of Object.entries(specs)) {
    const value = values[name] ?? (takes ? undefined : false)
    if (required && !value) return { fault: `--${name} ${takes} is missing` }
    if (choices && typeof value === 'string' && !choices.includes(value)) {
      return { fault: `--${name} must be ${listOf(choices)}, not "${value}"` }
    }
    args[name] = value
  }
  return { args, json: json === true, help: false }
}

function attempt<R extends object>(parse: () => R): R | { fault: string } {
  try {
    return parse()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    // The first sentence; the rest tells how to pass a positional that looks like an option.
    return { fault: message.split('. ')[0] ?? message }
  }
}
