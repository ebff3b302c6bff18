import { inspect } from 'node:util'

/** A string that must not be shown: it prints, logs and serialises as `[redacted]`. */
export type Secret = { reveal(): string; toString(): string; toJSON(): string }

const HIDDEN = '[redacted]'

/** Credentials that a text may carry: keys, tokens, and a password in the query of a URL. */
const CREDENTIAL =
  /\b[A-Za-z0-9]{1,16}_[0-9A-Za-z]{40,}|(?<![\w-])eyJ[\w-]+\.[\w-]*\.[\w-]*|(?<=[?&](?:ssl)?password=)[^\s&"]+/gi
/** A word as far as an `@`, and in it what stands in a URL before a password. */
const WORD = /[^\s@]+@?/g
const URL_USER = /:\/\/[^\s:/@]*:/

/** A text for people or for the log, without the credentials that it carries by mistake. */
export function hideCredentials(text: string): string {
  const redacted = text.replace(CREDENTIAL, HIDDEN)
  return redacted.includes('://') ? redacted.replace(WORD, hidePassword) : redacted
}

/** The password in the URL of a database or of Redis. */
function hidePassword(word: string): string {
  const user = word.endsWith('@') ? URL_USER.exec(word) : null
  return user ? `${word.slice(0, user.index + user[0].length)}${HIDDEN}@` : word
}

/** Wraps a sensitive value; only `reveal()` gives it back. */
export function secret(value: string): Secret {
  const hidden = { reveal: () => value, toString: () => HIDDEN, toJSON: () => HIDDEN }
  return Object.defineProperty(hidden, inspect.custom, { value: () => HIDDEN })
}
