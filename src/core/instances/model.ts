import { type Static, Type } from '@sinclair/typebox'
import { Id, Instant, nullable, wordOf } from '../../lib/model.ts'
import { Warning } from '../overview/model.ts'

export const Instance = Type.Object(
  {
    version: Type.String({ description: 'Of this server' }),
    started_at: Instant,
    database: Type.Object({
      kind: wordOf(['postgres', 'embedded']),
      version: Type.String(),
      migration: Type.String({ description: 'The newest one that ran' }),
    }),
    settings: Type.Array(
      Type.Object({
        name: Type.String(),
        value: nullable(
          Type.Union([Type.String(), Type.Number(), Type.Boolean()]),
          'Secrets are `(hidden)`; null: not set',
        ),
        source: wordOf(
          ['default', 'environment', 'file'],
          '`file`: `.env`, or the file that a setting names',
        ),
      }),
    ),
    instances: Type.Array(
      Type.Object({ id: Id, version: Type.String(), started_at: Instant, seen_at: Instant }),
      { description: 'The servers that were seen within the last minute' },
    ),
    warnings: Type.Array(Warning),
  },
  { $id: 'Instance', description: 'The server that answers, and those beside it' },
)
export type Instance = Static<typeof Instance>
