import type { TokenAudience } from '../db/oauth.ts'
import type { Role } from '../lib/model.ts'
import type { CredentialCode } from '../lib/outcomes.ts'
import type { Rate } from '../lib/rate.ts'
import { type Ceiling, covers, SUPPORT } from '../lib/scopes.ts'
import type { AccessClaims } from './signing/claims.ts'
import type { Uses } from './usage/uses.ts'
import type { CountedRate } from './verify/rates.ts'

/**
 * `api`: continued by a refresh token; `browser`: by a cookie; `client`: by a refresh token of an app that a person
 * allowed.
 */
export type SessionKind = LogInKind | 'client'
/** The kinds that a log-in begins. */
export type LogInKind = 'api' | 'browser'

/** The app of a client session: `clientId` is how the app names itself, `id` its row. */
export type SessionClient = { id: string; clientId: string; grantId: string }

/** A user, verified by an access token of one of the user's sessions. */
export type UserPrincipal = {
  kind: 'user'
  userId: string
  sessionId: string
  /** The claims of the presented access token. */
  claims: AccessClaims
  email: string
  emailVerified: boolean
  role: Role
  createdAt: Date
  /** What the credential of the session is: a refresh token, or a cookie. */
  sessionKind: SessionKind
  /** The first-party app that got the token by the person's consent; null: the person's own log-in. */
  client: SessionClient | null
  /** `openid`, `email` and `profile`, as far as that app got them. */
  identityScopes: readonly string[]
  /** The salt in the cookie that was presented; missing where an access token was. */
  cookieSalt?: Uint8Array
  /** When the person last proved who they are: of the session's row, which a claim never overrules. */
  authTime: Date
  /** How they proved it (RFC 8176), sorted; also of the row. */
  amr: readonly string[]
  /** Whether the user has a confirmed TOTP or a passkey. */
  hasSecondFactor: boolean
  /** Whether REQUIRE_MFA wants a second factor of the user, who has none: until then little else is open. */
  isEnrolmentDue: boolean
  /** The scopes that the access token carries, for answers only. Decisions use `grants`. */
  scopes: readonly string[]
  /** The scopes that this caller holds, and may grant to others. */
  grants: Ceiling
}

/** That for which a token was made. `id`: its row; null: `latchkey` or `userinfo`, which are none. */
export type TokenResource = {
  audience: Exclude<TokenAudience, 'users'>
  id: string | null
  /** The `aud` of the token. */
  identifier: string
  slug: string | null
}

/** An app that acts for a person, for one resource and within what the person allowed. */
export type ClientPrincipal = {
  kind: 'client'
  client: SessionClient
  sessionId: string
  userId: string
  /** The person, in the form of a key's owner: the app is bounded like a key of that person. */
  owner: UserOwner
  resource: TokenResource
  claims: AccessClaims
  /** When the person last proved who they are, and how (RFC 8176): of the session's row. */
  authTime: Date
  amr: readonly string[]
  /** Whether REQUIRE_MFA wants a second factor of the person, who has none. */
  isEnrolmentDue: boolean
  /** The absolute end of the session. Nothing that the app makes lasts longer. */
  endsAt: Date
  /** What the app may do now: session ∩ client ∩ resource ∩ person. */
  scopes: readonly string[]
  /** `openid`, `email` and `profile`, as far as the app got them. */
  identityScopes: readonly string[]
  grants: Ceiling
}

/**
 * An API key, verified by one of its live secrets, or by an access token that stands for one: that of a service account, or
 * one for which a key was exchanged.
 */
export type KeyPrincipal = {
  kind: 'key'
  /** For which a key was exchanged; null: the key itself, or a service account's token, which pass everywhere. */
  resource: TokenResource | null
  keyId: string
  secretId: string
  name: string | null
  owner: UserOwner | ServiceAccountOwner
  /** Effective: the key's own, else that of its service account. */
  externalId: string | null
  metadata: Record<string, unknown> | null
  /** The key's own rate limit; null: none. */
  rateLimit: Rate | null
  /** The key whose rate this one shares, because that key or one of its keys made it; null: none. */
  rateRoot: RateRoot | null
  /** The rates against which each use counts; null: none. A use changes their windows, and looks nothing up. */
  rates: readonly CountedRate[] | null
  /** The networks from which the key may be used; null: any address. */
  allowedIps: readonly string[] | null
  /** Whether uses at `/keys/verify` and forward-auth are charged to the key. */
  hasCredits: boolean
  /** Whether they are also charged to its owner. */
  hasOwnerCredits: boolean
  /** The claims of the access token that stands for the key; null: the key itself was presented. */
  claims: AccessClaims | null
  /** The expiry of the key, for answers; null: never. */
  keyExpiresAt: Date | null
  /**
   * The earliest expiry of what was presented: token, secret or key; null: never. No key that this one creates may
   * expire later.
   */
  endsAt: Date | null
  /** The scopes of the key that lie within its owner's present ceiling. */
  scopes: readonly string[]
  grants: Ceiling
  /** The uses of what was presented since the last batch. A use of a cached key changes nothing else. */
  uses: Uses
}

/** The topmost key with a rate among those that made a key, and its rate as it is now; null: its rate was cleared. */
export type RateRoot = { keyId: string; rate: Rate | null }

export type UserOwner = {
  type: 'user'
  id: string
  email: string
  emailVerified: boolean
  role: Role
  createdAt: Date
}
export type ServiceAccountOwner = { type: 'service_account'; id: string; name: string }

/** What a portal session may be made for. Each power includes `read`. */
export const PORTAL_POWERS = ['read', 'create', 'rotate', 'revoke'] as const
export type PortalPower = (typeof PORTAL_POWERS)[number]

/** Who made a portal session, and with whom it ends: an admin, or a key with its owner. */
export type PortalMaker =
  | { type: 'user'; id: string }
  | { type: 'key'; id: string; owner: { type: 'user' | 'service_account'; id: string } }

/** A customer in a portal session: acts for the owner of the session, and does what the session was made for. */
export type PortalPrincipal = {
  kind: 'portal'
  sessionId: string
  maker: PortalMaker
  owner: UserOwner | ServiceAccountOwner
  may: readonly PortalPower[]
  /** The scopes that the session was made for: it rotates and revokes keys that lie within them. */
  scopes: readonly string[]
  /** Those of its scopes that lie within the present ceiling of its owner and of its maker: it grants no others. */
  grants: Ceiling
  endsAt: Date
}

/** Who holds a credential that lasts: a person, a key, or an app that a person allowed. */
export type Holder = UserPrincipal | KeyPrincipal | ClientPrincipal

/** The verified caller. A route's handler gets exactly the member that the route requires. */
export type Principal = Holder | PortalPrincipal

/** Who acts for an owner within bounds of its own: a key, or an app that a person allowed. */
export type Delegate = KeyPrincipal | ClientPrincipal

export const isDelegate = (caller: Principal | Operator): caller is Delegate =>
  caller.kind === 'key' || caller.kind === 'client'

/** An admin, verified by an access token of their own; never a key. */
export type AdminPrincipal = UserPrincipal & { role: 'admin' }

/** A person at the command line. Acts as the system and presents no credential. */
export type Operator = { kind: 'operator' }
export const OPERATOR: Operator = { kind: 'operator' }

/**
 * Whether a caller is an admin by an access token of their own. An admin's key is not, and neither is a narrowed token
 * of an admin, whose role is `user`.
 */
export const isAdmin = (caller: Principal | Operator): caller is AdminPrincipal =>
  caller.kind === 'user' && caller.role === 'admin'

/** Whether a caller reads what admins read of everybody: an admin, or a holder of `latchkey:support`. */
export const readsAll = (caller: Principal | Operator): boolean =>
  caller.kind === 'operator' || covers(caller.grants, SUPPORT)

/** The id under which a caller acts. Of an app: what the person allowed it. */
export function idOf(caller: Principal): string {
  switch (caller.kind) {
    case 'user':
      return caller.userId
    case 'key':
      return caller.keyId
    case 'client':
      return caller.client.grantId
    case 'portal':
      return caller.sessionId
  }
}

/** The id that the keys of a caller name as their maker; null: a customer, whose session does not last. */
export const makerIdOf = (caller: Principal): string | null =>
  caller.kind === 'portal' ? null : idOf(caller)

/**
 * Why a credential is refused. Latchkey's own routes answer all of these codes alike, so that a guess learns nothing.
 */
type RefusalCode = Exclude<CredentialCode, 'VALID'>
export type Refusal = { kind: 'refused'; code: RefusalCode; keyId?: string }

/** A refusal, with the id of the key where the key is known. */
export const refuse = (code: RefusalCode, keyId?: string): Refusal =>
  keyId === undefined ? { kind: 'refused', code } : { kind: 'refused', code, keyId }
