import { SYSTEM } from '../../src/core/audit/audit.ts'
import type { Context } from '../../src/core/context.ts'
import { createKey } from '../../src/core/keys/create.ts'
import { revokeKey } from '../../src/core/keys/end.ts'
import type { NewKey } from '../../src/core/keys/model.ts'
import { operator } from '../../src/core/keys/reach.ts'
import { grantOf, signIn } from '../../src/core/login/sign-in.ts'
import { OPERATOR, type UserPrincipal } from '../../src/core/principal.ts'
import { createServiceAccount } from '../../src/core/service-accounts/service-accounts.ts'
import { sumUsageByOwner } from '../../src/core/usage/sums.ts'
import { changeUser, createUser, type UserRow } from '../../src/core/users/accounts.ts'
import { verifyCredential } from '../../src/core/verify/verify-credential.ts'
import type { Database } from '../../src/db/database.ts'
import { apiKeys, serviceAccounts, users } from '../../src/db/schema.ts'
import { addRefusals, addUsage, moveIntoPast, touchKeys, USAGE_DAYS } from './rows.ts'

export const PASSWORD = 'latchkey-for-trying-out'
export const ADMIN_EMAIL = 'admin@example.com'

const USERS = 50
const KEYS = 500
/** Keys of service accounts are the first ones. */
const KEYS_OF_ACCOUNTS = 120

const FIRST_NAMES = `Ada Alan Anita Barbara Claude Donald Edsger Frances Grace Hedy
  Ida Jean John Karen Katherine Ken Leslie Margaret Radia Tim`.split(/\s+/)
const TEAMS = ['billing', 'search', 'mobile', 'data', 'platform']
const SERVICES = `Billing Search Reports Webhooks Mobile Analytics Exports Payments Inventory Support
  Monitoring Backup`.split(/\s+/)
const USES = ['nightly job', 'staging', 'production', 'CI', 'dashboard', 'import', 'laptop', 'partner']

const pick = <T>(list: readonly T[], at: number): T => list[at % list.length] as T

/** Whether there is neither a user nor a service account nor a key. */
export async function isEmpty(db: Database): Promise<boolean> {
  for (const table of [users, serviceAccounts, apiKeys])
    if ((await db.select({ id: table.id }).from(table).limit(1)).length > 0) return false
  return true
}

/**
 * Makes users, service accounts and keys, and then the usage of the keys as if they were in use for long.
 * @returns what was made, in a sentence
 */
export async function fillInstance(context: Context): Promise<string> {
  const people: UserPrincipal[] = []
  for (let at = 0; at < USERS; at++) people.push(await signInAs(context, await addUser(context, at)))
  const [admin] = people
  if (!admin) throw new Error('No user was made')
  const accounts: string[] = []
  for (const [at, name] of SERVICES.entries()) {
    const maker = at < SERVICES.length / 2 ? admin : pick(people, 2 * at)
    const input = { name: `${name} service`, description: `Runs ${name.toLowerCase()}`, scopes: 'read write' }
    accounts.push((await createServiceAccount(context, SYSTEM, maker, input)).id)
  }
  for (let at = 0; at < KEYS; at++) await addKey(context, people, accounts, at)
  for (const { userId } of [pick(people, 13), pick(people, 31)])
    await changeUser(context, SYSTEM, OPERATOR, userId, { is_active: false })
  const { db } = context
  const now = new Date(context.clock())
  await moveIntoPast(db, now)
  for (let day = USAGE_DAYS - 1; day >= 0; day--) await addUsage(db, now, day)
  await touchKeys(db)
  await addRefusals(db, now)
  await sumUsageByOwner(context)
  return `${USERS} users, ${accounts.length} service accounts, ${KEYS} keys and ${USAGE_DAYS} days of usage are made.`
}

function addUser(context: Context, at: number): Promise<UserRow> {
  const name = pick(FIRST_NAMES, at).toLowerCase()
  const email = at === 0 ? ADMIN_EMAIL : `${name}.${pick(TEAMS, at)}${at}@example.com`
  const role = at < 2 ? 'admin' : 'user'
  return createUser(context, SYSTEM, OPERATOR, {
    email,
    password: PASSWORD,
    role,
    email_verified: at % 7 > 0,
  })
}

async function signInAs(context: Context, user: UserRow): Promise<UserPrincipal> {
  const wanted = { kind: 'api', scopes: null, remember: false } as const
  const { tokens } = await grantOf(context, await signIn(context, SYSTEM, user, wanted))
  const principal = await verifyCredential(context, tokens.access_token)
  if (principal.kind !== 'user') throw new Error('A log-in gave no user')
  return principal
}

/** One key of every state that there is, again and again. */
async function addKey(
  context: Context,
  people: readonly UserPrincipal[],
  accounts: readonly string[],
  at: number,
): Promise<void> {
  const isOfAccount = at < KEYS_OF_ACCOUNTS
  const input: NewKey = {
    name: `${isOfAccount ? pick(SERVICES, at) : pick(TEAMS, at)} ${pick(USES, Math.floor(at / 5))} ${at}`,
    scopes: at % 3 === 0 ? ['read', 'write'] : ['read'],
    ...(at % 4 === 0 && { external_id: `customer-${at}` }),
    ...(at % 6 === 0 && { metadata: { plan: pick(['free', 'team', 'enterprise'], at), seat: at } }),
    ...(at % 8 === 0 && { rate_limit: { limit: 1000, window_seconds: 60 } }),
    ...(at % 20 === 0 && { credits: { remaining: at * 10, refill: { amount: 5000, interval: 'monthly' } } }),
    ...(at % 25 === 0 && { allowed_ips: ['192.0.2.0/24'] }),
    ...(at % 5 === 0 && { expires_in_days: at % 10 === 0 ? 90 : 3 + (at % 11) }),
    ...(isOfAccount && { service_account_id: pick(accounts, at) }),
  }
  const { userId, grants } = pick(people, at)
  const caller = operator(isOfAccount ? null : { type: 'user', id: userId, ceiling: grants })
  const { row } = await createKey(context, SYSTEM, caller, input)
  if (at % 17 === 16)
    await revokeKey(context, SYSTEM, operator(), row.id, { reason: 'No longer needed', created: false })
}
