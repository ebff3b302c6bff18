import { type TSchema, Type } from '@sinclair/typebox'

/** A member of an answer that may be null. */
export const nullable = <S extends TSchema>(schema: S) => Type.Union([schema, Type.Null()])

export const Id = Type.String({ format: 'uuid' })
export const Instant = Type.String({ format: 'date-time' })
/** Answers name scopes as a list. */
export const ScopeList = Type.Array(Type.String())
