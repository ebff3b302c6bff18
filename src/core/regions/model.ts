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
      Type.Array(
        Type.Object({
          table: Type.String(),
          columns: Type.Array(Type.String()),
          is_filtered: Type.Boolean({ description: 'Whether a filter leaves rows out' }),
        }),
      ),
      'What is published; null: there is no publication',
    ),
    operations: Type.Array(Type.String(), {
      description: 'What the publication sends: `insert`, `update`, `delete`, `truncate`',
    }),
    synchronized_standby_slots: nullable(
      Type.String(),
      'As the server writes it; null: PostgreSQL is older than 17',
    ),
    has_standby_slots: Type.Boolean({ description: 'Whether a standby streams from a slot' }),
    heartbeat_at: nullable(Instant, 'The last heartbeat; null: there is none'),
    slots: Type.Array(
      Type.Object({
        name: Type.String(),
        active: Type.Boolean(),
        failover: nullable(
          Type.Boolean(),
          'Whether the standbys keep the slot too; null: PostgreSQL is older than 17',
        ),
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
