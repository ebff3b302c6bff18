import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { describeProtectedResource } from '../../core/protected-resources/metadata.ts'
import { ResourceMetadata } from '../../core/protected-resources/model.ts'
import { describe } from '../openapi/describe.ts'

/** The metadata of protected resources (RFC 9728). A proxy puts them where clients look for them, below the resource's own host. */
export const protectedResourceRoutes = (context: Context) =>
  new Elysia({ tags: ['OAuth'] }).get(
    '/.well-known/oauth-protected-resource/:name',
    async ({ params, set }) => {
      const metadata = await describeProtectedResource(context, params.name)
      set.headers['cache-control'] = 'public, max-age=300'
      return metadata
    },
    {
      params: Type.Object({
        name: Type.String({ description: 'The slug of the resource, or its identifier, percent-encoded' }),
      }),
      response: { 200: ResourceMetadata },
      detail: describe('getProtectedResource', 'Where a resource gets its tokens from (RFC 9728)', {
        errors: ['not_found'],
      }),
    },
  )
