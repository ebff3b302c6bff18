import { inspect } from 'node:util'

/** A string that must not appear in output: it prints, logs and serialises as `[redacted]`. */
export type Secret = { reveal(): string; toString(): string; toJSON(): string }

const HIDDEN = '[redacted]'

/**
 * Credentials that may appear in a text: keys, tokens, what Basic carries, and a password in the query of a URL. The link that makes the first
 * admin is left as it is, because the operator reads it in the log.
 */
const CREDENTIAL =
  /(?<!\/setup\?token=(?=et_))\b[A-Za-z0-9]{1,16}_[0-9A-Za-z]{40,}|(?<![\w-])eyJ[\w-]+\.[\w-]*\.[\w-]*|(?<=\bbasic )[A-Za-z0-9+/]{8,}={0,2}|(?<=[?&](?:ssl)?password=)[^\s&"]+/gi
/** A word up to an `@`; URL_USER finds the part of a URL in it that precedes the password. */
const WORD = /[^\s@]+@?/g
const URL_USER = /:\/\/[^\s:/@]*:/

/**
 * Replaces the credentials in a text for people or for the log. An error message may contain one by mistake.
 */
export function hideCredentials(text: string): string {
  const redacted = text.replace(CREDENTIAL, HIDDEN)
  return redacted.includes('://') ? redacted.replace(WORD, hidePassword) : redacted
}

/** Replaces the password in the URL of a database or of Redis. */
function hidePassword(word: string): string {
  const user = word.endsWith('@') ? URL_USER.exec(word) : null
  return user ? `${word.slice(0, user.index + user[0].length)}${HIDDEN}@` : word
}

/** Wraps a sensitive value. Only `reveal()` returns the value. */
export function secret(value: string): Secret {
  const hidden = { reveal: () => value, toString: () => HIDDEN, toJSON: () => HIDDEN }
  return Object.defineProperty(hidden, inspect.custom, { value: () => HIDDEN })
}

/** Whether a value is a `Secret`. */
export const isSecret = (value: unknown): value is Secret =>
  typeof value === 'object' && value !== null && 'reveal' in value
