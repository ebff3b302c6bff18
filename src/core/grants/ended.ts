import type { AuditEvent } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { identifierOf } from '../resources/audience.ts'
import type { NamedGrant } from './queries.ts'

/** What the audit trail says of the end of a grant: whose it was, which app's, and for what. The app itself may be gone soon. */
export const grantEnded = (
  { config }: Pick<Context, 'config'>,
  grant: NamedGrant,
  details: Record<string, unknown>,
): AuditEvent => ({
  action: 'grant.ended',
  target: { type: 'grant', id: grant.id },
  details: {
    user_id: grant.userId,
    client_id: grant.clientId,
    client_name: grant.clientName,
    resource: identifierOf(config, grant),
    ...details,
  },
})
