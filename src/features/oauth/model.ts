import { Type } from '@sinclair/typebox'

const value = Type.String({ maxLength: 8192 })

/** RFC 6749, sections 4.3.2 and 6. Unknown parameters are ignored (section 3.2). */
export const TokenForm = Type.Object(
  {
    grant_type: Type.String({ maxLength: 64, examples: ['password', 'refresh_token'] }),
    username: Type.Optional(value),
    password: Type.Optional(value),
    refresh_token: Type.Optional(Type.String({ maxLength: 4096 })),
    scope: Type.Optional(value),
    client_id: Type.Optional(value),
    client_secret: Type.Optional(value),
  },
  { $id: 'TokenForm', additionalProperties: true },
)

export const OAuthTokens = Type.Object(
  {
    access_token: Type.String(),
    token_type: Type.Literal('bearer'),
    expires_in: Type.Integer({ description: 'Seconds' }),
    refresh_token: Type.String(),
    scope: Type.String(),
  },
  { $id: 'OAuthTokens' },
)
