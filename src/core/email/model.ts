import { type Static, Type } from '@sinclair/typebox'

const Email = Type.String({ maxLength: 1024, examples: ['user@example.com'] })
const Password = Type.String({ maxLength: 8192 })

export const Address = Type.Object({ email: Email }, { $id: 'Address', additionalProperties: false })

export const EmailChange = Type.Object(
  { email: Email, current_password: Type.Optional(Password) },
  { $id: 'EmailChange', additionalProperties: false },
)
export type EmailChange = Static<typeof EmailChange>

export const EmailVerification = Type.Object(
  {
    token: Type.String({ maxLength: 4096 }),
    password: Type.Optional(Type.String({ maxLength: 8192, description: "The account's password" })),
  },
  { $id: 'EmailVerification', additionalProperties: false },
)
export type EmailVerification = Static<typeof EmailVerification>

export const VerifiedEmail = Type.Object(
  { email: Type.String(), email_verified: Type.Literal(true) },
  { $id: 'VerifiedEmail' },
)
export type VerifiedEmail = Static<typeof VerifiedEmail>

/** The answer to a request that must not tell whether an address is known. */
export const Accepted = Type.Object({ message: Type.String() }, { $id: 'Accepted' })
