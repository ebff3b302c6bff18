import { type Static, Type } from '@sinclair/typebox'

export const FORMAT = 'latchkey export 1'

/** The first line of an export. */
export const ExportHeader = Type.Object({
  format: Type.Literal(FORMAT),
  release: Type.String(),
  /** The time at which the newest migration was created, in milliseconds since the epoch. */
  migrations: Type.Number(),
  made_at: Type.String(),
})
export type ExportHeader = Static<typeof ExportHeader>

/** The number of rows, by table. */
export type RowCounts = Record<string, number>

/** The last line of an export. Without it, the file was cut off and is not imported. */
export const ExportFooter = Type.Object({ rows: Type.Record(Type.String(), Type.Number()) })
