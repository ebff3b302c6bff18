import type { KeyPrincipal, Principal, UserPrincipal } from './principal.ts'

/** What a route needs of whoever asks. */
export type Need = {
  /** Either kind may ask unless this says which. */
  kind?: 'user' | 'key'
  /** Met by a user's token alone. */
  role?: 'admin'
  /** Met by a user's token alone whose person logged in with a second factor. */
  mfa?: true
  /** All are needed. */
  scopes?: readonly string[]
  /** What this use takes from a key that has credits; 1 unless given. */
  cost?: number
}

/** The principal that a need lets in. */
export type PrincipalOf<N extends Need> = N extends { role: 'admin' }
  ? UserPrincipal & { role: 'admin' }
  : N extends { kind: 'user' } | { mfa: true }
    ? UserPrincipal
    : N extends { kind: 'key' }
      ? KeyPrincipal
      : Principal

/** A need, and nothing that is none: a mistyped member would ask for nothing. */
export type Exactly<N, Known = Need> = N & Record<Exclude<keyof N, keyof Known>, never>

const MEMBERS = new Set(['kind', 'role', 'mfa', 'scopes', 'cost'])

/**
 * The same need, where it is one: what the compiler says to those who have it.
 * @throws TypeError for an unknown member or value, and for a member that is there and undefined
 */
export function requireNeed<N extends Need>(need: N): N {
  const { kind, role, mfa, scopes, cost } = requirePlain(need) as Record<string, unknown>
  for (const [member, value] of Object.entries(need)) {
    if (!MEMBERS.has(member)) throw new TypeError(`No such need: ${member}`)
    if (value === undefined) throw new TypeError(`${member} is undefined: leave it out, or set it`)
  }
  if (kind !== undefined && kind !== 'user' && kind !== 'key') throw new TypeError('kind is "user" or "key"')
  if (role !== undefined && role !== 'admin') throw new TypeError('role is "admin"')
  if (mfa !== undefined && mfa !== true) throw new TypeError('mfa is true')
  if (scopes !== undefined && !isTexts(scopes)) throw new TypeError('scopes is a list of scopes')
  if (cost !== undefined && !Number.isInteger(cost)) throw new TypeError('cost is a whole number')
  return need
}

/**
 * The same object, where all that it says is in members of its own: what it inherits would be lost with its copy.
 * @throws TypeError for what is no plain object
 */
export function requirePlain<O extends object>(value: O): O {
  const prototype = typeof value === 'object' && value !== null ? Object.getPrototypeOf(value) : value
  // Of whichever realm.
  if (prototype !== null && (typeof prototype !== 'object' || Object.getPrototypeOf(prototype) !== null))
    throw new TypeError('A need is a plain object')
  return value
}

const isTexts = (value: unknown) => Array.isArray(value) && value.every((text) => typeof text === 'string')
