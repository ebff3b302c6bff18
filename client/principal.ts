/** A person, by an access token of one of their sessions. */
export type UserPrincipal = {
  kind: 'user'
  userId: string
  sessionId: string
  role: 'admin' | 'user'
  /** What the token carries. An admin may do everything, whatever stands here. */
  scopes: readonly string[]
  /** How the person proved who they are (RFC 8176): with "mfa" in it, by a second factor too. */
  amr: readonly string[]
}

/** A service, by an API key or by an access token that was made with one. */
export type KeyPrincipal = {
  kind: 'key'
  keyId: string
  name: string | null
  owner: { type: 'user' | 'service_account'; id: string }
  externalId: string | null
  metadata: Record<string, unknown> | null
  /** The end of what was shown; null: none. */
  secretExpiresAt: Date | null
  scopes: readonly string[]
  /** What is left after this use; null: the key has no credits to count. */
  credits: { remaining: number } | null
  /** Where the key stands in its own limit; null: it has none. */
  rate: { limit: number; remaining: number; resetAt: Date } | null
}

/** Who is asking: the server's own union, less what neither a token nor `/keys/verify` says. */
export type Principal = UserPrincipal | KeyPrincipal
