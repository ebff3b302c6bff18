import type { Role } from '../lib/model.ts'
import type { CredentialCode } from '../lib/outcomes.ts'
import type { Rate } from '../lib/rate.ts'
import { type Ceiling, covers, SUPPORT } from '../lib/scopes.ts'
import type { AccessClaims } from './signing/claims.ts'

/** `api`: continued by a refresh token; `browser`: by a cookie. */
export type SessionKind = 'api' | 'browser'

/** A person, by an access token of one of their sessions. */
export type UserPrincipal = {
  kind: 'user'
  userId: string
  sessionId: string
  /** What the presented access token says. */
  claims: AccessClaims
  email: string
  emailVerified: boolean
  role: Role
  createdAt: Date
  /** What the credential of the session is: a refresh token, or a cookie. */
  sessionKind: SessionKind
  /** When the person last proved who they are: of the session's row, which a claim never overrules. */
  authTime: Date
  /** How they proved it (RFC 8176), sorted; also of the row. */
  amr: readonly string[]
  /** Whether the user has a confirmed TOTP or a passkey. */
  hasSecondFactor: boolean
  /** Whether REQUIRE_MFA wants a second factor of the user, who has none: until then little else is open. */
  isEnrolmentDue: boolean
  /** What the access token carries, for answers; `grants` decides. */
  scopes: readonly string[]
  /** What this caller holds, and may hand out. */
  grants: Ceiling
}

/** A service, by one of the live secrets of an API key. */
export type KeyPrincipal = {
  kind: 'key'
  keyId: string
  secretId: string
  name: string | null
  owner: UserOwner | ServiceAccountOwner
  externalId: string | null
  metadata: Record<string, unknown> | null
  /** Uses in a window; null: no limit of its own. */
  rateLimit: Rate | null
  /** Networks that it may be used from; null: anywhere. */
  allowedIps: readonly string[] | null
  /** Whether uses at `/keys/verify` and forward-auth are charged. */
  hasCredits: boolean
  /** What the access token says that a service account presented; null: the key itself was presented. */
  claims: AccessClaims | null
  /** The key's own end, for answers; null: none. */
  keyExpiresAt: Date | null
  /** The earliest end of what was presented: token, secret, key; null: none. What the key makes ends no later. */
  endsAt: Date | null
  /** What is written on the key and lies within its owner's ceiling now. */
  scopes: readonly string[]
  grants: Ceiling
}

export type UserOwner = {
  type: 'user'
  id: string
  email: string
  emailVerified: boolean
  role: Role
  createdAt: Date
}
export type ServiceAccountOwner = { type: 'service_account'; id: string; name: string }

/** Who is asking. Each route gets exactly the member that it asked for. */
export type Principal = UserPrincipal | KeyPrincipal

/** An admin, by an access token of their own. */
export type AdminPrincipal = UserPrincipal & { role: 'admin' }

/** A person at the command line, who acts as the system and stands on no credential. */
export type Operator = { kind: 'operator' }
export const OPERATOR: Operator = { kind: 'operator' }

export const isAdmin = (caller: Principal | Operator): caller is AdminPrincipal =>
  caller.kind === 'user' && caller.role === 'admin'

/** Whether a caller reads what admins read of everybody: an admin, or a holder of `latchkey:support`. */
export const readsAll = (caller: Principal | Operator): boolean =>
  caller.kind === 'operator' || covers(caller.grants, SUPPORT)

/** The id under which a caller acts: the audit trail names it, and the keys that the caller makes. */
export const idOf = (caller: Principal): string => (caller.kind === 'user' ? caller.userId : caller.keyId)

/** Why a credential is not good. Our own routes answer all of these alike. */
type RefusalCode = Exclude<CredentialCode, 'VALID'>
export type Refusal = { kind: 'refused'; code: RefusalCode; keyId?: string }

export const refuse = (code: RefusalCode, keyId?: string): Refusal =>
  keyId === undefined ? { kind: 'refused', code } : { kind: 'refused', code, keyId }
