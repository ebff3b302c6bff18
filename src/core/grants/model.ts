import { type Static, Type } from '@sinclair/typebox'
import { Id, Instant, nullable, pageOf, wordOf } from '../../lib/model.ts'

/** What a person allowed an app. */
export const Grant = Type.Object(
  {
    id: Id,
    client: Type.Object({
      client_id: Type.String(),
      name: Type.String(),
      host: nullable(Type.String(), 'Of an app that names itself by a URL'),
      source: wordOf(['registered', 'metadata', 'dynamic']),
    }),
    resource: Type.Object({
      identifier: Type.String({ description: 'The `aud` of the tokens' }),
      name: Type.String(),
    }),
    scopes: Type.Array(Type.String(), { description: 'All that was allowed so far' }),
    first_allowed_at: Instant,
    last_allowed_at: Instant,
    last_used_at: nullable(Instant),
    sessions: Type.Integer({ description: 'Live sessions of the app under it' }),
  },
  { $id: 'Grant' },
)
export type Grant = Static<typeof Grant>

export const GrantPage = pageOf(Grant, 'GrantPage')
export type GrantPage = Static<typeof GrantPage>
