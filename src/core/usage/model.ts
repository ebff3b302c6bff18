import { type Static, Type } from '@sinclair/typebox'
import { Instant } from '../../lib/model.ts'

export const UsageQuery = Type.Object(
  {
    from: Type.Optional(Instant),
    to: Type.Optional(Instant),
    bucket: Type.Optional(Type.Union([Type.Literal('hour'), Type.Literal('day')])),
  },
  { additionalProperties: false },
)
export type UsageQuery = Static<typeof UsageQuery>

export const Usage = Type.Object(
  { items: Type.Array(Type.Object({ at: Instant, outcome: Type.String(), count: Type.Integer() })) },
  { $id: 'KeyUsage' },
)
export type Usage = Static<typeof Usage>
