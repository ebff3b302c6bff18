import { type Static, Type } from '@sinclair/typebox'

/** A public key as published (RFC 7517). */
const PublicJwk = Type.Object(
  { kty: Type.String(), kid: Type.String(), alg: Type.String(), use: Type.String() },
  { additionalProperties: true },
)
export type PublicJwk = Static<typeof PublicJwk>

export const Jwks = Type.Object({ keys: Type.Array(PublicJwk) }, { $id: 'Jwks' })
export type Jwks = Static<typeof Jwks>
