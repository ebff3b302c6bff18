import { inspect } from 'node:util'

/** A string that must not be shown: it prints, logs and serialises as `[redacted]`. */
export type Secret = { reveal(): string; toString(): string; toJSON(): string }

const HIDDEN = '[redacted]'

/** Wraps a sensitive value; only `reveal()` gives it back. */
export function secret(value: string): Secret {
  const hidden = { reveal: () => value, toString: () => HIDDEN, toJSON: () => HIDDEN }
  return Object.defineProperty(hidden, inspect.custom, { value: () => HIDDEN })
}
