import { Type } from '@sinclair/typebox'

const MAX_TOKEN_LENGTH = 4096

export const RefreshRequest = Type.Object(
  { refresh_token: Type.Optional(Type.String({ maxLength: MAX_TOKEN_LENGTH })) },
  { $id: 'RefreshRequest', additionalProperties: false },
)

/** The seed's clients may send the token as a query parameter, where REFRESH_TOKEN_IN_QUERY lets them. */
export const RefreshQuery = Type.Object({
  refresh_token: Type.Optional(Type.String({ maxLength: MAX_TOKEN_LENGTH })),
})
