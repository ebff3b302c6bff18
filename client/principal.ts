/** A user, verified by an access token of one of the user's sessions. */
export type UserPrincipal = {
  kind: 'user'
  userId: string
  sessionId: string
  role: 'admin' | 'user'
  /** The scopes of the token. An admin may do everything, whatever the token's scopes are. */
  scopes: readonly string[]
  /** How the person proved who they are (RFC 8176): with "mfa" in it, by a second factor too. */
  amr: readonly string[]
}

/** A service, verified by an API key or by an access token that was obtained with one. */
export type KeyPrincipal = {
  kind: 'key'
  keyId: string
  name: string | null
  owner: { type: 'user' | 'service_account'; id: string }
  externalId: string | null
  metadata: Record<string, unknown> | null
  /** The expiry of the presented credential; null: never. */
  secretExpiresAt: Date | null
  scopes: readonly string[]
  /** The credits that remain after this use; null: the key has no credits. */
  credits: { remaining: number } | null
  /** The credits that remain to the key's owner, for all of its keys; null: the owner has no credits. */
  ownerCredits: { remaining: number } | null
  /** What is left of the key's own rate, or of the one that it shares with the key that made it; null: it has none. */
  rate: RateLimit | null
  /**
   * What is left of the tighter rate: the key's, or the one that all keys of its owner share; null: there is neither. It is
   * what `RateLimit-Limit`, `-Remaining` and `-Reset` tell a client.
   */
  rateLimit: RateLimit | null
}

/** An app that acts for a user who allowed it, at the resource of this service. */
export type ClientPrincipal = {
  kind: 'client'
  /** Whom the app acts for. */
  userId: string
  /** How the app names itself: an id, or the URL of its metadata. */
  clientId: string
  /** What the user allowed the app. It ends with the user's word. */
  grantId: string
  scopes: readonly string[]
  /** The user's address; null: it was not verified. */
  email: string | null
  /** How the user who allowed the app had proved who they are (RFC 8176). */
  amr: readonly string[]
  /** When they had. */
  authTime: Date
  expiresAt: Date
}

/** What is left of a rate after this use, and when all of it is there again. */
export type RateLimit = { limit: number; remaining: number; resetAt: Date }

/** The verified caller: the server's own type, without what neither a token nor Latchkey's answer tells. */
export type Principal = UserPrincipal | KeyPrincipal | ClientPrincipal
