import type { ClientPrincipal, KeyPrincipal, Principal, UserPrincipal } from './principal.ts'

/** What a route requires of the caller. */
export type Need = {
  /** The kind of caller; by default each is accepted. `client`, an app, comes only to a service with a `resource`. */
  kind?: 'user' | 'key' | 'client'
  /** Only a user's access token can have a role; a key of an admin does not. */
  role?: 'admin'
  /** Only a user who logged in with a second factor meets this, and an app that such a user allowed. */
  mfa?: true
  /** The caller needs all of them. */
  scopes?: readonly string[]
  /** Credits that this use takes from a key that has credits; by default 1. */
  cost?: number
}

/** The type of the callers that meet a need. */
export type PrincipalOf<N extends Need> = N extends { role: 'admin' }
  ? UserPrincipal & { role: 'admin' }
  : N extends { kind: 'user' }
    ? UserPrincipal
    : N extends { kind: 'client' }
      ? ClientPrincipal
      : N extends { kind: 'key' }
        ? KeyPrincipal
        : N extends { mfa: true }
          ? UserPrincipal | ClientPrincipal
          : Principal

/** A need without unknown members. A mistyped member would otherwise require nothing, and leave the route open. */
export type Exactly<N, Known = Need> = N & Record<Exclude<keyof N, keyof Known>, never>

const MEMBERS = new Set(['kind', 'role', 'mfa', 'scopes', 'cost'])

/**
 * Checks a need at run time, as the compiler does for TypeScript.
 * @returns the same need
 * @throws TypeError for an unknown member or value, and for a member whose value is undefined
 */
export function requireNeed<N extends Need>(need: N): N {
  const { kind, role, mfa, scopes, cost } = requirePlain(need) as Record<string, unknown>
  for (const [member, value] of Object.entries(need)) {
    if (!MEMBERS.has(member)) throw new TypeError(`No such need: ${member}`)
    if (value === undefined) throw new TypeError(`${member} is undefined: leave it out, or set it`)
  }
  if (kind !== undefined && kind !== 'user' && kind !== 'key' && kind !== 'client')
    throw new TypeError('kind is "user", "key" or "client"')
  if (role !== undefined && role !== 'admin') throw new TypeError('role is "admin"')
  if (mfa !== undefined && mfa !== true) throw new TypeError('mfa is true')
  if (scopes !== undefined && !isTexts(scopes)) throw new TypeError('scopes is a list of scopes')
  if (cost !== undefined && !Number.isInteger(cost)) throw new TypeError('cost is a whole number')
  return need
}

/**
 * Checks that an object is plain, so that all its members are its own: a copy would lose inherited ones, and with them
 * a requirement.
 * @returns the same object
 * @throws TypeError for any other value
 */
export function requirePlain<O extends object>(value: O): O {
  const prototype = typeof value === 'object' && value !== null ? Object.getPrototypeOf(value) : value
  // A plain object of another realm (an iframe, a vm context) has another Object.prototype, so the prototype's own
  // prototype is compared.
  if (prototype !== null && (typeof prototype !== 'object' || Object.getPrototypeOf(prototype) !== null))
    throw new TypeError('A need is a plain object')
  return value
}

const isTexts = (value: unknown) => Array.isArray(value) && value.every((text) => typeof text === 'string')
