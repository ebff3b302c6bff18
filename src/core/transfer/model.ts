import { type Static, Type } from '@sinclair/typebox'

export const FORMAT = 'latchkey export 1'

/** The first line of an export. */
export const ExportHeader = Type.Object({
  format: Type.Literal(FORMAT),
  release: Type.String(),
  /** The newest migration: its time of making. */
  migrations: Type.Number(),
  made_at: Type.String(),
})
export type ExportHeader = Static<typeof ExportHeader>

/** How many rows each table has. */
export type RowCounts = Record<string, number>

/** The last line: without it, the export is not whole. */
export const ExportFooter = Type.Object({ rows: Type.Record(Type.String(), Type.Number()) })
