import { Type } from '@sinclair/typebox'
import type { ErrorCode } from '../../lib/errors.ts'

/** What a summary cannot say. */
type More = {
  description?: string
  /** The errors that `operation.ts` cannot tell from the shape of the route. */
  errors?: readonly ErrorCode[]
  /** In place of what the guard says; an empty object means that the credential is optional. */
  security?: Record<string, string[]>[]
  /** The credentials of a route that authenticates its caller by itself. */
  credentials?: Record<string, string[]>[]
}

/**
 * The words of one operation in the OpenAPI document; the `detail` of its route. The compiler refuses an error code that
 * the catalogue does not have.
 * @param operationId is frozen: clients are generated from it
 * @example detail: describe('revokeKey', 'End an API key for good', { errors: ['not_found', 'forbidden'] })
 */
export function describe(operationId: string, summary: string, { errors, credentials, ...more }: More = {}) {
  return {
    operationId,
    summary,
    ...more,
    ...(errors && { 'x-errors': [...errors] }),
    ...(credentials && { 'x-security': credentials }),
  }
}

/** The shape of an answer without a body. */
export const noContent = (description = 'Done') => ({ 204: Type.Undefined({ description }) })
