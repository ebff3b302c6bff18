import { type Static, Type } from '@sinclair/typebox'
import { ScopeList } from '../../lib/model.ts'

/** RFC 9728, section 2. */
export const ResourceMetadata = Type.Object(
  {
    resource: Type.String(),
    resource_name: Type.String(),
    authorization_servers: Type.Array(Type.String()),
    scopes_supported: ScopeList,
    bearer_methods_supported: Type.Array(Type.Literal('header')),
  },
  { $id: 'ProtectedResource' },
)
export type ResourceMetadata = Static<typeof ResourceMetadata>
