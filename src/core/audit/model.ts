import { type Static, Type } from '@sinclair/typebox'
import { Id, Instant, nullable, pageOf } from '../../lib/model.ts'

const party = Type.Object({ type: nullable(Type.String()), id: nullable(Type.String()) })

/** An event of the audit trail, as the API answers it. */
export const AuditEntry = Type.Object(
  {
    id: Id,
    at: Instant,
    action: Type.String({ examples: ['key.revoked'] }),
    outcome: Type.Union([Type.Literal('success'), Type.Literal('refused')]),
    actor: party,
    target: party,
    ip: nullable(Type.String()),
    request_id: nullable(Type.String()),
    details: Type.Record(Type.String(), Type.Unknown()),
  },
  { $id: 'AuditEvent' },
)
export type AuditEntry = Static<typeof AuditEntry>

export const AuditPage = pageOf(AuditEntry, 'AuditPage')
export type AuditPage = Static<typeof AuditPage>
