import { hideCredentials, type Secret, secret } from '../lib/secret.ts'

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/**
 * A parsed value, or a phrase that completes "NAME ": "must be …". The phrase does not contain the value
 * where that may be a secret.
 */
export type Parsed<T> = { value: T } | { fault: string }

type IntegerRule = { min: number; max: number }

/** Reads settings one by one and collects all faults, so that a person can correct them in one attempt. */
export type Reader = ReturnType<typeof createReader>

const TRUE = new Set(['true', '1', 'yes', 'on'])
const FALSE = new Set(['false', '0', 'no', 'off'])

/**
 * Creates a reader of the environment. An empty value counts as unset. After a fault the reader returns a
 * fallback, so that the remaining settings are still checked. The caller must check `faults` before it uses
 * any setting.
 */
export function createReader(env: Environment) {
  const faults: string[] = []
  const names = new Set<string>()

  const find = (name: string): string | undefined => {
    names.add(name)
    return env[name]
  }
  /** The value without surrounding white space, or null. */
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
    /** The names that were read so far. After all settings are read: the names of all settings. */
    names,
    text,
    parsed,
    /** Adds a fault that concerns several settings. */
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
    /**
     * Reads a secret exactly as written. Surrounding white space is a fault: it is invisible, and every
     * comparison with the value would fail.
     */
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

/**
 * Quotes a value for a message: short and on one line. For settings that are not secret. A credential that
 * was put there by mistake is hidden.
 */
export function quote(found: string): string {
  const line = JSON.stringify(hideCredentials(found))
  return line.length > 62 ? `${line.slice(0, 58)}…"` : line
}

/** Joins words: `a, b or c`. */
export function listOf(words: readonly string[]): string {
  return words.length < 2 ? words.join() : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}
