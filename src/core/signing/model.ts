import { type Static, Type } from '@sinclair/typebox'
import { Instant, nullable, pageOf, wordOf } from '../../lib/model.ts'

/** A public key as published (RFC 7517). */
const PublicJwk = Type.Object(
  { kty: Type.String(), kid: Type.String(), alg: Type.String(), use: Type.String() },
  { additionalProperties: true },
)
export type PublicJwk = Static<typeof PublicJwk>

export const Jwks = Type.Object({ keys: Type.Array(PublicJwk) }, { $id: 'Jwks' })
export type Jwks = Static<typeof Jwks>

/** A signing key as admins see it. */
export const SigningKey = Type.Object(
  {
    kid: Type.String(),
    algorithm: wordOf(['ES256', 'RS256', 'EdDSA']),
    state: wordOf(
      ['upcoming', 'signing', 'published', 'revoked'],
      '`published`: verifies until its last token expires',
    ),
    created_at: Instant,
    signs_from: Instant,
    revoked_at: nullable(Instant),
  },
  { $id: 'SigningKey' },
)
export type SigningKey = Static<typeof SigningKey>

export const SigningKeyPage = pageOf(SigningKey, 'SigningKeyPage')
export type SigningKeyPage = Static<typeof SigningKeyPage>
