import { type TSchema, Type } from '@sinclair/typebox'

/** An optional member of a request: null means absent. */
export const optional = <S extends TSchema>(schema: S) => Type.Optional(Type.Union([schema, Type.Null()]))

/** A member of an answer that may be null. */
export const nullable = <S extends TSchema>(schema: S) => Type.Union([schema, Type.Null()])

export const Id = Type.String({ format: 'uuid' })
export const Instant = Type.String({ format: 'date-time' })
/** Answers name scopes as a list. */
export const ScopeList = Type.Array(Type.String())
