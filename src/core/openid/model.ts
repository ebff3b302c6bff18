import { type Static, Type } from '@sinclair/typebox'
import { Id } from '../../lib/model.ts'

/** The claims of a person (OpenID Connect Core, section 5.1). */
export const UserInfo = Type.Object(
  {
    sub: Id,
    email: Type.Optional(Type.String({ description: 'With the scope `email`' })),
    email_verified: Type.Optional(Type.Boolean()),
    updated_at: Type.Optional(
      Type.Integer({ description: 'Seconds since the epoch; with the scope `profile`' }),
    ),
  },
  { $id: 'UserInfo' },
)
export type UserInfo = Static<typeof UserInfo>
