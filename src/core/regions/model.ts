import { type Static, Type } from '@sinclair/typebox'
import { Instant, nullable } from '../../lib/model.ts'

/** What home says of itself to `latchkey region check`. */
export const HomeStatus = Type.Object(
  {
    version: Type.String({ description: 'The release of the server that answers' }),
    migration: Type.String({ description: 'The newest migration of the database' }),
    server_version: Type.Integer({ description: 'Of PostgreSQL, such as 180004' }),
    wal_level: Type.String(),
    max_slot_wal_keep_size: Type.String({ description: 'As the server writes it; -1: no bound' }),
    publication: nullable(
      Type.Array(Type.Object({ table: Type.String(), columns: Type.Array(Type.String()) })),
      'What is published; null: there is no publication',
    ),
    heartbeat_at: nullable(Instant, 'The last heartbeat; null: there is none'),
    slots: Type.Array(
      Type.Object({
        name: Type.String(),
        active: Type.Boolean(),
        wal_status: nullable(Type.String(), '`lost`: its region needs a new copy'),
        bytes_behind: nullable(Type.Integer(), 'Not confirmed by the region yet'),
        bytes_kept: nullable(Type.Integer(), 'Of the write-ahead log, which the slot keeps on disk'),
      }),
      { description: 'The slots of the regions, a hundred at most' },
    ),
  },
  { $id: 'HomeStatus' },
)
export type HomeStatus = Static<typeof HomeStatus>
