import { presentRate } from '../../lib/rate.ts'
import type { ServiceAccount } from './model.ts'
import type { WholeAccount } from './queries.ts'

/** An account in the form in which the API answers. */
export const presentAccount = (account: WholeAccount): ServiceAccount => ({
  id: account.id,
  name: account.name,
  description: account.description,
  scopes: account.scopes,
  is_active: account.isActive,
  external_id: account.externalId,
  rate_limit: presentRate(account),
  managers: account.managers.map(({ type, id }) => ({ type, id })),
  created_by: account.createdBy,
  created_at: account.createdAt.toISOString(),
})
