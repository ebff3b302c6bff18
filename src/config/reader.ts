import { hideCredentials, type Secret, secret } from '../lib/secret.ts'

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/** The value, or a phrase that completes "NAME ": "must be …". Never the value itself where it may be a secret. */
export type Parsed<T> = { value: T } | { fault: string }

type IntegerRule = { min: number; max: number }

/** Reads settings one by one and gathers what is wrong with them, so that a person can mend everything at once. */
export type Reader = ReturnType<typeof createReader>

const TRUE = new Set(['true', '1', 'yes', 'on'])
const FALSE = new Set(['false', '0', 'no', 'off'])

/**
 * A reader over the environment. An empty value counts as unset. After a fault it gives the fallback, so that the
 * rest can still be read; the caller must look at `faults` before it uses any setting.
 */
export function createReader(env: Environment) {
  const faults: string[] = []
  const names = new Set<string>()

  const find = (name: string): string | undefined => {
    names.add(name)
    return env[name]
  }
  /** The value without the white space around it, or null. */
  const text = (name: string): string | null => find(name)?.trim() || null

  const parsed = <T, F>(name: string, parse: (text: string) => Parsed<T>, fallback: F): T | F => {
    const found = text(name)
    if (found === null) return fallback
    const result = parse(found)
    if ('value' in result) return result.value
    faults.push(`${name} ${result.fault}`)
    return fallback
  }

  return {
    faults,
    /** What it has been asked for: once all is read, the names of all settings. */
    names,
    text,
    parsed,
    /** Adds a fault that belongs to several settings at once. */
    fault(sentence: string): void {
      faults.push(sentence)
    },
    integer<F>(name: string, rule: IntegerRule, fallback: F): number | F {
      return parsed(name, (found) => parseInteger(found, rule), fallback)
    },
    flag(name: string, fallback: boolean): boolean {
      return parsed(name, parseFlag, fallback)
    },
    choice<const T extends string>(name: string, choices: readonly T[], fallback: T): T {
      return parsed(name, (found) => parseChoice(found, choices), fallback)
    },
    /** Exactly as written: white space at an end is a fault, since it is invisible and makes every comparison fail. */
    secret(name: string): Secret | null {
      const raw = find(name)
      if (raw === undefined || raw.trim() === '') return null
      if (raw !== raw.trim()) faults.push(`${name} must not start or end with white space or a line break`)
      return secret(raw)
    },
  }
}

function parseInteger(found: string, { min, max }: IntegerRule): Parsed<number> {
  const value = /^\d{1,15}$/.test(found) ? Number(found) : Number.NaN
  if (value >= min && value <= max) return { value }
  return { fault: `must be a whole number from ${min} to ${max}, not ${quote(found)}` }
}

function parseFlag(found: string): Parsed<boolean> {
  const word = found.toLowerCase()
  if (TRUE.has(word)) return { value: true }
  if (FALSE.has(word)) return { value: false }
  return { fault: `must be true or false, not ${quote(found)}` }
}

function parseChoice<T extends string>(found: string, choices: readonly T[]): Parsed<T> {
  const value = choices.find((choice) => choice.toLowerCase() === found.toLowerCase())
  if (value !== undefined) return { value }
  return { fault: `must be ${listOf(choices)}, not ${quote(found)}` }
}

/** A value for a message: short, on one line, in quotes. For settings that are no secret, unless one got there by mistake. */
export function quote(found: string): string {
  const line = JSON.stringify(hideCredentials(found))
  return line.length > 62 ? `${line.slice(0, 58)}…"` : line
}

/** `a, b or c`. */
export function listOf(words: readonly string[]): string {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}
