import { calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose'
import type { Database, Transaction } from '../../db/database.ts'
import { encrypt } from '../../lib/encrypt.ts'
import { fail } from '../../lib/errors.ts'
import { DAY_MS, formatInstant, SECOND_MS } from '../../lib/time.ts'
import { type Origin, recordEvent, SYSTEM } from '../audit/audit.ts'
import { type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { OPERATOR, type Operator, type Principal } from '../principal.ts'
import {
  type AsymmetricAlgorithm,
  CLOCK_MARGIN_MS,
  openKeyRing,
  openPrivate,
  type SigningContext,
  verifiesUntil,
} from './asymmetric.ts'
import type { SigningRing } from './claims.ts'
import type { SigningKey } from './model.ts'
import {
  insertSigningKey,
  listAllSigningKeys,
  listSigningKeys,
  lockSigningKeys,
  type SigningKeyRow,
  updateSigningKey,
} from './queries.ts'
import { createSharedSecretRing } from './shared-secret.ts'

/** Of several servers that change the keys, one does so after the other: the lock of `lockSigningKeys`. */
const SIGNING_KEYS: Lock = ['advisory', 'signing_keys']

/** A new key is published this long before it signs: verifiers that keep the JWKS for 300 s know it by then. */
const PUBLISHED_AHEAD_MS = 300 * SECOND_MS

/**
 * The ring that ALGORITHM asks for. With ES256, RS256 or EdDSA the keys live in the database; the first one is made
 * at the first start, by one of however many servers start at once.
 * @throws Error where SECRET_KEY does not open the stored keys
 */
export async function openSigningRing(context: SigningContext): Promise<SigningRing> {
  const { config, clock } = context
  if (config.algorithm === 'HS256') {
    const secrets = [config.secretKey, config.secretKeyPrevious].filter((secret) => secret !== null)
    return createSharedSecretRing(config, secrets, clock)
  }
  const algorithm = config.algorithm
  // The server that made the first key may have a clock that is ahead.
  const hasKey = (rows: SigningKeyRow[]) =>
    currentOf(rows, algorithm, clock() + CLOCK_MARGIN_MS) !== undefined
  if (!hasKey(await listSigningKeys(context.db))) {
    await underLock(context, async (tx, rows) => {
      if (!hasKey(rows)) await addSigningKey(tx, context, SYSTEM, algorithm, 'signing_key.created', 0)
    })
  }
  return openKeyRing(context, algorithm)
}

/** What a key does, in the words of the API. A retired key verifies nothing and is not listed. */
const STATES = { next: 'upcoming', current: 'signing', retiring: 'published', revoked: 'revoked' } as const

/** Keys that a list shows, the newest first. */
const MAX_LISTED = 100

/** The keys that sign, that will, that still verify, or that are revoked. */
export async function describeSigningKeys(context: SigningContext): Promise<SigningKey[]> {
  const keys = await listStoredKeys(context)
  return keys
    .flatMap(({ id, state, ...key }) =>
      state === 'retired' ? [] : [{ kid: id, ...key, state: STATES[state] }],
    )
    .toReversed()
    .slice(0, MAX_LISTED)
}

/** A stored key and what it does now. */
export async function listStoredKeys(context: SigningContext) {
  const rows = await listAllSigningKeys(context.db)
  const now = context.clock()
  return rows.map((row) => ({
    id: row.id,
    algorithm: row.algorithm,
    state: stateOf(row, rows, context, now),
    created_at: row.createdAt.toISOString(),
    signs_from: row.signsFrom.toISOString(),
    revoked_at: formatInstant(row.revokedAt),
  }))
}

function stateOf(
  row: SigningKeyRow,
  all: SigningKeyRow[],
  context: SigningContext,
  now: number,
): keyof typeof STATES | 'retired' {
  const live = all.filter(({ revokedAt }) => revokedAt === null)
  const { algorithm } = context.config
  if (row.revokedAt !== null) return 'revoked'
  if (algorithm === 'HS256') return 'retired'
  if (row.signsFrom.getTime() > now) return 'next'
  if (currentOf(live, algorithm, now)?.id === row.id) return 'current'
  return now < verifiesUntil(row, all, context.config) ? 'retiring' : 'retired'
}

/**
 * Makes the next signing key; it is published now and signs in five minutes. The old one verifies until its last token
 * is dead.
 * @throws Problem conflict where a next key waits already, or the keys are not ours to rotate (HS256)
 */
export async function rotateSigningKey(
  context: Context,
  origin: Origin,
  caller: Principal | Operator = OPERATOR,
): Promise<{ id: string; signs_from: string }> {
  const algorithm = requireAsymmetric(context)
  const made = await recordChange(context, origin, caller, [SIGNING_KEYS], async ({ tx }) => {
    const rows = await listSigningKeys(tx)
    const newest = rows.findLast((row) => row.algorithm === algorithm)
    if (newest && newest.signsFrom.getTime() > context.clock()) {
      fail('conflict', { detail: 'The next key is published already and has not begun to sign.' })
    }
    const key = await addSigningKey(tx, context, origin, algorithm, 'signing_key.rotated', PUBLISHED_AHEAD_MS)
    return { id: key.id, signs_from: key.signsFrom.toISOString() }
  })
  // Published here at once; other servers notice by themselves.
  await context.signing.refresh()
  return made
}

/** Rotates where the newest key is SIGNING_KEY_ROTATION_DAYS old; of several servers, one does. */
export async function rotateIfDue(context: SigningContext): Promise<void> {
  const { algorithm, signingKeyRotationDays } = context.config
  if (algorithm === 'HS256') return
  const isDue = (rows: SigningKeyRow[]) => {
    const newest = rows.findLast((row) => row.algorithm === algorithm)
    return (
      newest !== undefined && newest.signsFrom.getTime() + signingKeyRotationDays * DAY_MS <= context.clock()
    )
  }
  if (!isDue(await listSigningKeys(context.db))) return
  await underLock(context, async (tx, rows) => {
    if (isDue(rows))
      await addSigningKey(tx, context, SYSTEM, algorithm, 'signing_key.rotated', PUBLISHED_AHEAD_MS)
  })
}

/**
 * Refuses every token that a key signed, at once. Where it was the one that signs, the next one takes over now, or a
 * new one; never one that has signed before.
 * @throws Problem not_found, conflict with HS256
 */
export async function revokeSigningKey(
  context: Context,
  origin: Origin,
  id: string,
  caller: Principal | Operator = OPERATOR,
): Promise<void> {
  const algorithm = requireAsymmetric(context)
  // The caller's own token may be of this key.
  const locks: Lock[] = [SIGNING_KEYS, ['signingKeys', id, 'no key update']]
  await recordChange(context, origin, caller, locks, async ({ tx, now, record }) => {
    const rows = await listSigningKeys(tx)
    const key = rows.find((row) => row.id === id)
    if (!key) fail('not_found', { detail: 'There is no such signing key, or it is revoked already.' })
    await updateSigningKey(tx, id, { revokedAt: now })
    await record({ action: 'signing_key.revoked', target: { type: 'signing_key', id } })
    if (currentOf(rows, algorithm, now.getTime())?.id !== id) return
    const next = rows.find((row) => row.algorithm === algorithm && row.signsFrom > now)
    if (next) await updateSigningKey(tx, next.id, { signsFrom: now })
    else await addSigningKey(tx, context, origin, algorithm, 'signing_key.created', 0)
  })
  await context.signing.refresh()
}

/**
 * Seals every signing key under the present SECRET_KEY: the second step of its rotation.
 * @param details what else was rewrapped, for the audit trail
 * @returns how many there are
 * @throws Error where one opens with neither SECRET_KEY nor SECRET_KEY_PREVIOUS
 */
export async function rewrapSigningKeys(
  context: SigningContext,
  details: Record<string, number>,
): Promise<{ rewrapped: number }> {
  return underLock(context, async (tx, rows) => {
    for (const row of rows) {
      await updateSigningKey(tx, row.id, {
        privateKey: encrypt(sealingKey(context), row.id, openPrivate(context, row)),
      })
    }
    await recordEvent(tx, context, SYSTEM, {
      action: 'signing_key.rewrapped',
      details: { signing_keys: rows.length, ...details },
    })
    return { rewrapped: rows.length }
  })
}

/**
 * Makes sure that SECRET_KEY opens every stored key.
 * @throws Error with one sentence where it does not
 */
export async function assertSecretKeyFits(db: Database, keys: Context['keys']): Promise<void> {
  for (const row of await listAllSigningKeys(db)) openPrivate({ keys }, row)
}

function currentOf(
  rows: readonly SigningKeyRow[],
  algorithm: string,
  nowMs: number,
): SigningKeyRow | undefined {
  return rows.findLast((row) => row.algorithm === algorithm && row.signsFrom.getTime() <= nowMs)
}

/** Every change of the keys, one at a time over all servers, on what is there then. */
function underLock<R>(
  context: SigningContext,
  work: (tx: Transaction, rows: SigningKeyRow[]) => Promise<R>,
): Promise<R> {
  return context.db.transaction(async (tx) => {
    await lockSigningKeys(tx)
    return work(tx, await listSigningKeys(tx))
  })
}

async function addSigningKey(
  tx: Transaction,
  context: SigningContext,
  origin: Origin,
  algorithm: AsymmetricAlgorithm,
  action: 'signing_key.created' | 'signing_key.rotated',
  aheadMs: number,
): Promise<SigningKeyRow> {
  const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const publicJwk = await exportJWK(publicKey)
  const id = await calculateJwkThumbprint(publicJwk)
  const sealed = encrypt(sealingKey(context), id, JSON.stringify(await exportJWK(privateKey)))
  const now = context.clock()
  const key = await insertSigningKey(tx, {
    id,
    algorithm,
    publicJwk: { ...publicJwk },
    privateKey: sealed,
    createdAt: new Date(now),
    signsFrom: new Date(now + aheadMs),
  })
  const details = { algorithm, signs_from: key.signsFrom.toISOString() }
  await recordEvent(tx, context, origin, { action, target: { type: 'signing_key', id }, details })
  return key
}

function sealingKey(context: SigningContext): Uint8Array {
  const [key] = context.keys.signing
  if (!key) throw new Error('No key to seal signing keys with')
  return key
}

function requireAsymmetric({ config }: SigningContext): AsymmetricAlgorithm {
  if (config.algorithm !== 'HS256') return config.algorithm
  return fail('conflict', {
    detail: 'With ALGORITHM=HS256 tokens are signed with SECRET_KEY; there are no signing keys.',
  })
}
