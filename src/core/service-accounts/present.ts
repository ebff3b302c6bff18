import { fail } from '../../lib/errors.ts'
import { presentRate } from '../../lib/rate.ts'
import type { Context } from '../context.ts'
import { listOwnerCredits } from '../credits/owner-credits.ts'
import { presentCredits } from '../credits/settings.ts'
import type { ServiceAccount } from './model.ts'
import type { WholeAccount } from './queries.ts'

/** Accounts in the form in which the API answers, in the same order. */
export async function presentAccounts(
  { db, clock }: Pick<Context, 'db' | 'clock'>,
  accounts: readonly WholeAccount[],
): Promise<ServiceAccount[]> {
  const ids = accounts.map(({ id }) => id)
  const creditsOf = await listOwnerCredits(db, ids)
  const nowMs = clock()
  return accounts.map((account) => {
    const credits = creditsOf.get(account.id)
    return {
      id: account.id,
      name: account.name,
      description: account.description,
      scopes: account.scopes,
      is_active: account.isActive,
      external_id: account.externalId,
      rate_limit: presentRate(account),
      credits: credits ? presentCredits(credits, nowMs) : null,
      managers: account.managers.map(({ type, id }) => ({ type, id })),
      created_by: account.createdBy,
      created_at: account.createdAt.toISOString(),
    }
  })
}

/** One account in the same form. */
export async function presentAccount(
  context: Pick<Context, 'db' | 'clock'>,
  account: WholeAccount,
): Promise<ServiceAccount> {
  return (await presentAccounts(context, [account]))[0] ?? fail('internal')
}
