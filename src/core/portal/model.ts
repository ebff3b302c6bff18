import { type Static, Type } from '@sinclair/typebox'
import { ExternalId, Id, Instant, nullable, ScopeInput, ScopeList, wordOf } from '../../lib/model.ts'
import { MAX_CREDENTIAL_LENGTH } from '../../lib/tokens.ts'
import { KeyOwner } from '../keys/model.ts'
import { PORTAL_POWERS } from '../principal.ts'

export const MAX_RETURN_URL_LENGTH = 2048
export const DEFAULT_EXPIRES_IN_SECONDS = 900

const OwnerId = Type.String({ maxLength: 64 })
const Power = wordOf(PORTAL_POWERS)

export const NewPortalSession = Type.Object(
  {
    user_id: Type.Optional(OwnerId),
    service_account_id: Type.Optional(OwnerId),
    external_id: Type.Optional(ExternalId),
    scopes: Type.Optional(ScopeInput),
    may: Type.Optional(
      Type.Array(Power, {
        minItems: 1,
        maxItems: 10,
        description: '`["read"]` unless given; each includes `read`',
      }),
    ),
    return_url: Type.Optional(
      Type.String({
        maxLength: MAX_RETURN_URL_LENGTH,
        description: 'Where the portal leads back to: an origin of PORTAL_RETURN_ORIGINS, or of PUBLIC_URL',
      }),
    ),
    expires_in_seconds: Type.Optional(
      Type.Integer({
        minimum: 60,
        maximum: 3600,
        description: `${DEFAULT_EXPIRES_IN_SECONDS} unless given; the link itself works for 5 minutes, once`,
      }),
    ),
  },
  {
    $id: 'NewPortalSession',
    additionalProperties: false,
    description: 'Exactly one of user_id, service_account_id and external_id (of a service account)',
  },
)
export type NewPortalSession = Static<typeof NewPortalSession>

export const PortalSession = Type.Object(
  {
    id: Id,
    url: Type.String({
      description: 'The link for the customer, whose fragment is a secret; shown this once',
    }),
    expires_at: Instant,
  },
  { $id: 'PortalSession' },
)
export type PortalSession = Static<typeof PortalSession>

export const PortalToken = Type.Object(
  { token: Type.String({ maxLength: MAX_CREDENTIAL_LENGTH, description: 'The fragment of the link' }) },
  { $id: 'PortalToken', additionalProperties: false },
)
export type PortalToken = Static<typeof PortalToken>

export const PortalAccess = Type.Object(
  {
    access_token: Type.String({ description: 'The bearer of the session, for `Authorization`' }),
    expires_in: Type.Integer({ description: 'In seconds' }),
    owner: KeyOwner,
    scopes: Type.Unsafe<string[]>({ ...ScopeList, description: 'What new keys may hold' }),
    may: Type.Array(Power),
    return_url: nullable(Type.String()),
    name: Type.String({ description: 'PORTAL_NAME' }),
  },
  { $id: 'PortalAccess' },
)
export type PortalAccess = Static<typeof PortalAccess>
