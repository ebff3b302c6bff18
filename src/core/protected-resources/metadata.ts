import { fail } from '../../lib/errors.ts'
import type { Context } from '../context.ts'
import { findProtectedResource } from './find.ts'
import type { ResourceMetadata } from './model.ts'

/**
 * What a client learns of a resource before it asks for a token (RFC 9728).
 * @param name its slug, or its identifier
 * @throws Problem not_found
 */
export async function describeProtectedResource(context: Context, name: string): Promise<ResourceMetadata> {
  const found = (await findProtectedResource(context, name)) ?? fail('not_found')
  return {
    resource: found.identifier,
    resource_name: found.name,
    authorization_servers: [context.config.publicUrl],
    scopes_supported: [...found.scopes],
    bearer_methods_supported: ['header'],
  }
}
