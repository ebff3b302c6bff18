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
  openAsymmetricKeys,
  openPrivate,
  type SigningContext,
  verifiesUntil,
} from './asymmetric.ts'
import type { SigningKeys } from './claims.ts'
import type { SigningKey } from './model.ts'
import {
  insertSigningKey,
  listAllSigningKeys,
  listSigningKeys,
  lockSigningKeys,
  type SigningKeyRow,
  updateSigningKey,
} from './queries.ts'
import { createSharedSecretKeys } from './shared-secret.ts'

/** Of several servers that change the keys, one does so after the other: the lock of `lockSigningKeys`. */
const SIGNING_KEYS: Lock = ['advisory', 'signing_keys']

/** A new key is published this long before it signs: verifiers that keep the JWKS for 300 s know it by then. */
const PUBLISHED_AHEAD_MS = 300 * SECOND_MS

/**
 * The signer and verifier for ALGORITHM. With ES256, RS256 or EdDSA the keys are in the database. The first start makes
 * the first key; of several servers that start at once, one does.
 * @throws Error where SECRET_KEY does not decrypt the stored keys
 */
export async function openSigningKeys(context: SigningContext): Promise<SigningKeys> {
  const { config, clock } = context
  if (config.algorithm === 'HS256') {
    const secrets = [config.secretKey, config.secretKeyPrevious].filter((secret) => secret !== null)
    return createSharedSecretKeys(config, secrets, clock)
  }
  const algorithm = config.algorithm
  if (config.mode === 'verify') return openAsymmetricKeys(context, algorithm)
  // The server that made the first key may have a clock that is ahead.
  const hasKey = (rows: SigningKeyRow[]) =>
    currentOf(rows, algorithm, clock() + CLOCK_MARGIN_MS) !== undefined
  if (!hasKey(await listSigningKeys(context.db))) {
    await underLock(context, async (tx, rows) => {
      if (!hasKey(rows)) await addSigningKey(tx, context, SYSTEM, algorithm, 'signing_key.created', 0)
    })
  }
  return openAsymmetricKeys(context, algorithm)
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
 * Makes the next signing key. It is published now and signs in five minutes. The old key verifies until its last token
 * has expired.
 * @throws Problem conflict where a next key is waiting already, or there are no stored keys (HS256)
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

/** Rotates where the newest key is SIGNING_KEY_ROTATION_DAYS old. Of several servers, one does. */
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
 * Revokes a signing key: every token that it signed is refused at once. Where it is the key that signs, the next key or
 * a new one takes over now. A key that has signed before never signs again.
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
 * Encrypts every signing key with the present SECRET_KEY: the second step of its rotation.
 * @param details what else was encrypted anew, for the audit trail
 * @returns how many keys there are
 * @throws Error where neither SECRET_KEY nor SECRET_KEY_PREVIOUS decrypts one of them
 */
export async function rewrapSigningKeys(
  context: SigningContext,
  details: Record<string, number>,
): Promise<{ rewrapped: number }> {
  return underLock(context, async (tx, rows) => {
    for (const row of rows) {
      await updateSigningKey(tx, row.id, {
        privateKey: encrypt(encryptionKey(context), row.id, openPrivate(context, row)),
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
 * Checks that SECRET_KEY decrypts every stored key.
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

/** Runs a change of the signing keys under a lock that all servers share, on the keys as they are then. */
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
  const encrypted = encrypt(encryptionKey(context), id, JSON.stringify(await exportJWK(privateKey)))
  const now = context.clock()
  const key = await insertSigningKey(tx, {
    id,
    algorithm,
    publicJwk: { ...publicJwk },
    privateKey: encrypted,
    createdAt: new Date(now),
    signsFrom: new Date(now + aheadMs),
  })
  const details = { algorithm, signs_from: key.signsFrom.toISOString() }
  await recordEvent(tx, context, origin, { action, target: { type: 'signing_key', id }, details })
  return key
}

function encryptionKey(context: SigningContext): Uint8Array {
  const [key] = context.keys.signing
  if (!key) throw new Error('No key to encrypt signing keys with')
  return key
}

function requireAsymmetric({ config }: SigningContext): AsymmetricAlgorithm {
  if (config.algorithm !== 'HS256') return config.algorithm
  return fail('conflict', {
    detail: 'With ALGORITHM=HS256 tokens are signed with SECRET_KEY; there are no signing keys.',
  })
}
