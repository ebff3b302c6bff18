import { failField } from '../../lib/errors.ts'
import { hashToken } from '../../lib/tokens.ts'
import { type Origin, recordEvent } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { ownerOf } from '../owners.ts'
import { type Holder, isDelegate, readsAll } from '../principal.ts'
import { isVisible } from './list.ts'
import type { FoundKey, KeyLookup } from './model.ts'
import { presentKey, presentOwner } from './present.ts'
import { listKeysBySecret, type SecretRow, type SecretSearch } from './queries.ts'
import type { Operator } from './reach.ts'

const MAX_FOUND = 20

/**
 * Finds the keys of a secret that somebody found. The search is not a use of the keys: nothing is counted, and no
 * `last_used_at` changes. A caller who reads the keys of all owners searches them all; a key searches those that a list
 * would give it.
 * @throws Problem validation_failed unless exactly one of `hash`, `key` and `start` is given
 */
export async function lookUpKeys(
  context: Context,
  origin: Origin,
  caller: Holder | Operator,
  lookup: KeyLookup,
): Promise<FoundKey[]> {
  const [by, search] = readLookup(lookup)
  const of =
    caller.kind === 'operator' || readsAll(caller)
      ? null
      : { owner: ownerOf(caller), within: isDelegate(caller) ? caller.scopes : null }
  const found = await listKeysBySecret(context.db, search, of, MAX_FOUND)
  const visible = found.filter(({ key }) => isVisible(caller, key))
  const now = context.clock()
  // The hash is left out: it would tell which secret was asked about.
  const details = { by, found: visible.length }
  await recordEvent(context.db, context, origin, { action: 'key.looked_up', details })
  return visible.map(({ key, secret }) => ({
    ...presentKey(key, now),
    owner: presentOwner(key),
    matched: { start: secret.start, state: stateOf(secret, now) },
  }))
}

function readLookup({ hash, key, start }: KeyLookup): [by: keyof KeyLookup, SecretSearch] {
  const given = [hash, key, start].filter((value) => value !== undefined)
  if (given.length !== 1) failField('', 'Give exactly one of hash, key and start')
  if (hash !== undefined) return ['hash', { hash: Uint8Array.fromHex(hash) }]
  if (key !== undefined) return ['key', { hash: hashToken(key) }]
  return ['start', { start: start ?? '' }]
}

/** A rotation gives the secret that it replaces an end. */
function stateOf({ expiresAt, endedAt }: SecretRow, nowMs: number): FoundKey['matched']['state'] {
  if (endedAt !== null) return 'ended'
  if (expiresAt === null) return 'current'
  return expiresAt.getTime() > nowMs ? 'overlap' : 'ended'
}
