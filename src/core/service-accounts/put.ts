import { fail, Problem } from '../../lib/errors.ts'
import { readExternalId } from '../../lib/external-id.ts'
import type { Origin } from '../audit/audit.ts'
import { inTurn } from '../change/turns.ts'
import type { Context } from '../context.ts'
import { type Holder, isAdmin } from '../principal.ts'
import { manages } from './managers.ts'
import type { ServiceAccountPut } from './model.ts'
import { findAccountByExternalId, type WholeAccount } from './queries.ts'
import { changeServiceAccount, createServiceAccount, TAKEN } from './service-accounts.ts'

const MAX_NAME_LENGTH = 100
/** How often the account may be made or deleted by somebody else between two looks. */
const MAX_ATTEMPTS = 4

/**
 * Makes the account of an external id, or changes it in the members that are named. Of an account that is there, `credits` are
 * ignored: a nightly synchronisation must not fill up what was used. Of many requests at once one makes it.
 * @throws Problem forbidden for a person who is no admin; conflict where the account is not the caller's to manage
 */
export async function putServiceAccount(
  context: Context,
  origin: Origin,
  caller: Holder,
  { external_id, credits, ...named }: ServiceAccountPut,
): Promise<{ account: WholeAccount; isNew: boolean }> {
  if (caller.kind === 'user' && !isAdmin(caller))
    fail('forbidden', { detail: "This takes an admin's own access token, or a key." })
  const externalId = readExternalId('/external_id', external_id)
  const put = () => putInTurn(context, origin, caller, externalId, named, credits)
  // A hundred requests for one account would otherwise wait for its lock with every connection of the pool.
  return inTurn(context.db, `external id ${externalId}`, 1, put)
}

async function putInTurn(
  context: Context,
  origin: Origin,
  caller: Holder,
  externalId: string,
  named: Omit<ServiceAccountPut, 'external_id' | 'credits'>,
  credits: ServiceAccountPut['credits'],
): Promise<{ account: WholeAccount; isNew: boolean }> {
  for (let attempts = 1; ; attempts++) {
    try {
      const present = await findAccountByExternalId(context.db, externalId)
      if (!present) {
        const name = [...externalId].slice(0, MAX_NAME_LENGTH).join('')
        const input = { name, scopes: [], ...named, ...(credits && { credits }) }
        return {
          account: await createServiceAccount(context, origin, caller, input, externalId),
          isNew: true,
        }
      }
      if (!manages(caller, present))
        fail('conflict', { detail: 'The service account with this external_id is not yours to manage.' })
      const account = await changeServiceAccount(context, origin, caller, present.id, named)
      return { account, isNew: false }
    } catch (error) {
      if (attempts === MAX_ATTEMPTS || !isMeanwhile(error)) throw error
    }
  }
}

/** Whether an account was made, or was deleted or given away, since it was looked for. */
const isMeanwhile = (error: unknown): boolean =>
  error instanceof Problem &&
  (error.problem === 'not_found' || (error.problem === 'conflict' && error.extra.detail === TAKEN))
