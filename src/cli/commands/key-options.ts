import { Value } from '@sinclair/typebox/value'
import type { Context } from '../../core/context.ts'
import { MAX_EXPIRE_DAYS, NewKey } from '../../core/keys/model.ts'
import { operator } from '../../core/keys/reach.ts'
import { findUserById, requireUserId } from '../../core/users/accounts.ts'
import { fail, failField } from '../../lib/errors.ts'
import { parseJson } from '../../lib/json.ts'
import { ceilingOfUser } from '../../lib/scopes.ts'

/** The two options that select the owner of keys. */
export const ownerOptions = {
  user: { takes: 'EMAIL|ID', summary: 'The user who owns the keys' },
  'service-account': { takes: 'ID', summary: 'The service account that owns the keys' },
} as const

type OwnerArgs = { user: string | undefined; 'service-account': string | undefined }

/** @throws Error if both options are given */
export function requireOneOwner(args: OwnerArgs): void {
  if (args.user !== undefined && args['service-account'] !== undefined) {
    throw new Error('--user and --service-account exclude each other')
  }
}

/**
 * An operator who creates a key for a user. The key is limited by what that user may hold now.
 * @param who an e-mail or an id
 * @throws Problem not_found
 */
export async function operatorFor(context: Context, who: string) {
  const id = await requireUserId(context, who)
  const user = await findUserById(context.db, id)
  if (!user) fail('not_found')
  return operator({ type: 'user', id, ceiling: ceilingOfUser(user, context.config.userScopes) })
}

/** The command line's options for the settings of a new key. */
export const settingsOptions = {
  name: { takes: 'TEXT', summary: 'The name of the key' },
  description: { takes: 'TEXT', summary: 'A description of the key' },
  scopes: { takes: 'LIST', summary: 'The scopes of the key, such as read,write; none by default' },
  'expires-in-days': {
    takes: 'N',
    range: [1, MAX_EXPIRE_DAYS],
    summary: 'The key expires after this many days',
  },
  'expires-at': { takes: 'TIME', summary: 'The time at which the key expires, such as 2030-12-31T23:59:59Z' },
  'external-id': { takes: 'TEXT', summary: 'Your own name for the customer who uses the key' },
  metadata: { takes: 'JSON', summary: 'A JSON object that is stored with the key' },
  'rate-limit': { takes: 'N/SECONDS', summary: 'At most N uses in each window of seconds, such as 100/60' },
  credits: {
    takes: 'N',
    range: [0, 999_999_999],
    summary: 'The number of credits, which verifications use up',
  },
  refill: {
    takes: 'N/INTERVAL',
    summary: 'Raises the credits to N, daily, weekly or monthly, such as 1000/daily',
  },
  'allowed-ips': { takes: 'LIST', summary: 'The addresses and CIDRs from which the key may be used' },
} as const

type SettingsArgs = { [K in keyof typeof settingsOptions]: string | undefined }

/**
 * Reads the settings of a new key from the options, by the rules of a request body.
 * @throws Problem validation_failed
 */
export function readNewKey(args: SettingsArgs, serviceAccountId: string | undefined): NewKey {
  const given = {
    name: args.name,
    description: args.description,
    scopes: args.scopes,
    expires_in_days: args['expires-in-days'] === undefined ? undefined : Number(args['expires-in-days']),
    expires_at: args['expires-at'],
    external_id: args['external-id'],
    metadata: args.metadata === undefined ? undefined : readJson(args.metadata),
    rate_limit: args['rate-limit'] === undefined ? undefined : readRate(args['rate-limit']),
    credits: readCredits(args.credits, args.refill),
    allowed_ips: args['allowed-ips']?.split(/[\s,]+/).filter((network) => network !== ''),
    service_account_id: serviceAccountId,
  }
  const input: unknown = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
  const wrong = Value.Errors(NewKey, input).First()
  if (wrong) failField(wrong.path.replaceAll('_', '-'), `Is not accepted: ${wrong.message}`)
  return input as NewKey
}

function readJson(text: string): unknown {
  try {
    return parseJson(text)
  } catch {
    return failField('metadata', 'Must be JSON')
  }
}

function readRate(text: string) {
  const [, limit, seconds] =
    /^(\d{1,10})\/(\d{1,7})$/.exec(text) ?? failField('rate-limit', 'Must look like 100/60')
  return { limit: Number(limit), window_seconds: Number(seconds) }
}

function readCredits(remaining: string | undefined, refill: string | undefined) {
  if (refill === undefined) return remaining === undefined ? undefined : { remaining: Number(remaining) }
  const [, amount, interval] =
    /^(\d{1,13})\/(daily|weekly|monthly)$/.exec(refill) ?? failField('refill', 'Must look like 1000/daily')
  return { remaining: Number(remaining ?? amount), refill: { amount: Number(amount), interval } }
}
