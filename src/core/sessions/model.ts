import { Type } from '@sinclair/typebox'
import { Id, Instant, nullable, pageOf } from '../../lib/model.ts'

const MAX_TOKEN_LENGTH = 4096

export const RefreshRequest = Type.Object(
  { refresh_token: Type.Optional(Type.String({ maxLength: MAX_TOKEN_LENGTH })) },
  { $id: 'RefreshRequest', additionalProperties: false },
)

/** The seed's clients may send the token as a query parameter, where REFRESH_TOKEN_IN_QUERY lets them. */
export const RefreshQuery = Type.Object(
  { refresh_token: Type.Optional(Type.String({ maxLength: MAX_TOKEN_LENGTH })) },
  { additionalProperties: true },
)

const Session = Type.Object(
  {
    id: Id,
    created_at: Instant,
    last_used_at: Instant,
    expires_at: Instant,
    ip: nullable(Type.String()),
    user_agent: nullable(Type.String()),
    current: Type.Boolean({ description: 'The one that asks' }),
  },
  { $id: 'Session' },
)

export const SessionPage = pageOf(Session, 'SessionPage')
