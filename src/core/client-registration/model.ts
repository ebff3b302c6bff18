import { type Static, Type } from '@sinclair/typebox'
import { Id } from '../../lib/model.ts'
import { MAX_REDIRECT_URI_LENGTH, MAX_REDIRECT_URIS } from '../clients/redirect-uris.ts'

/** A member that is checked by hand, since RFC 7591 has an error of its own for it. */
const member = (description: string) => Type.Optional(Type.Unknown({ description }))

/** What an app registers (RFC 7591, section 2). Other members are ignored. */
export const Registration = Type.Object(
  {
    redirect_uris: member(
      `A list of 1 to ${MAX_REDIRECT_URIS} URIs of at most ${MAX_REDIRECT_URI_LENGTH} characters: https, or http on this machine`,
    ),
    client_name: member('At most 100 characters'),
    grant_types: member('`authorization_code` and `refresh_token`; others are left out'),
    response_types: member('`code`'),
    token_endpoint_auth_method: member('`none`: such apps are public clients'),
  },
  { $id: 'Registration', additionalProperties: true },
)
export type Registration = Static<typeof Registration>

/** What was registered (RFC 7591, section 3.2.1). */
export const RegisteredApp = Type.Object(
  {
    client_id: Id,
    client_id_issued_at: Type.Integer({ description: 'Seconds' }),
    client_name: Type.String(),
    redirect_uris: Type.Array(Type.String()),
    grant_types: Type.Array(Type.String()),
    response_types: Type.Array(Type.String()),
    token_endpoint_auth_method: Type.Literal('none'),
  },
  { $id: 'RegisteredApp' },
)
export type RegisteredApp = Static<typeof RegisteredApp>
