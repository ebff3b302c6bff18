import { parseScopes } from '../../lib/scopes.ts'

/** What a proxy asks of a caller. */
export type Policy = {
  /** The caller needs all of them. */
  scopes: readonly string[]
  kind: 'user' | 'key' | 'client' | 'any'
  role: 'admin' | null
  /** Whether the caller must be a person who proved a second factor, or an app that such a person allowed. */
  mfa: boolean
  /** The slug of the resource that the proxy protects; null: none, and so no token that was made for a resource. */
  resource: string | null
}

/** The policy that asks for a valid credential and no more. */
export const ANYBODY: Policy = { scopes: [], kind: 'any', role: null, mfa: false, resource: null }

const NAME = /^[a-z-]{1,32}$/
const SLUG = /^[a-z0-9-]{1,50}$/

/** Policies by their text, which were read before: a proxy asks by the same few again and again. */
const read = new Map<string, Readonly<Policy>>()
const MAX_READ = 100
const MAX_READ_LENGTH = 200

/**
 * Reads a policy such as `scope=read,write&kind=key`: each member once, in plain characters. Nothing is decoded
 * (docs/decisions/0011).
 * @returns the policy, or what is wrong with it, in a sentence that quotes no value; a faulty policy is never guessed at
 */
export function parsePolicy(text: string): Readonly<Policy> | { fault: string } {
  const known = read.get(text)
  if (known) return known
  const policy = readPolicy(text)
  if ('fault' in policy || text.length > MAX_READ_LENGTH) return policy
  // A caller may send a new policy with each request, so the memory is bounded.
  if (read.size >= MAX_READ) read.clear()
  read.set(text, policy)
  return policy
}

function readPolicy(text: string): Policy | { fault: string } {
  const members = new Map<string, string>()
  for (const member of text.split('&')) {
    const [name = '', value = '', ...more] = member.split('=')
    if (name === '' || value === '' || more.length > 0)
      return { fault: 'A member of a policy is name=value, and neither is empty' }
    if (members.has(name)) return { fault: `Only once in a policy: ${maskName(name)}` }
    members.set(name, value)
  }
  const policy: Policy = { ...ANYBODY }
  for (const [name, value] of members) {
    const fault = readMember(policy, name, value)
    if (fault !== null) return { fault }
  }
  return policy
}

function readMember(policy: Policy, name: string, value: string): string | null {
  if (name === 'scope') {
    const named = value.split(',')
    const scopes = parseScopes(named)
    if ('fault' in scopes) return scopes.fault
    if (scopes.length < named.length) return 'A scope is there twice'
    policy.scopes = scopes
    return null
  }
  if (name === 'kind') {
    if (value !== 'user' && value !== 'key' && value !== 'client' && value !== 'any')
      return 'kind is user, key, client or any'
    policy.kind = value
    return null
  }
  if (name === 'role') {
    if (value !== 'admin') return 'The only role that can be asked for is admin'
    policy.role = value
    return null
  }
  if (name === 'mfa') {
    if (value !== 'true') return 'mfa is true'
    policy.mfa = true
    return null
  }
  if (name === 'resource') {
    if (!SLUG.test(value)) return 'resource is the slug of a resource'
    policy.resource = value
    return null
  }
  return `No member of a policy: ${maskName(name)}`
}

/** The name as it may be logged. Any text in a URL may be a secret that was put there by mistake. */
const maskName = (name: string) => (NAME.test(name) ? name : '…')
