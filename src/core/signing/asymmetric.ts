import { decodeProtectedHeader, importJWK, type JWK, jwtVerify, SignJWT } from 'jose'
import type { Algorithm } from '../../config/config.ts'
import { decrypt } from '../../lib/encrypt.ts'
import { newId } from '../../lib/ids.ts'
import { DAY_MS, MINUTE_MS, SECOND_MS } from '../../lib/time.ts'
import { ACCESS_TOKEN_TYPE } from '../../lib/tokens.ts'
import type { Context } from '../context.ts'
import { ownClaims, REQUIRED_CLAIMS, readClaims, type SigningRing } from './claims.ts'
import type { PublicJwk } from './model.ts'
import { listAllSigningKeys, type SigningKeyRow } from './queries.ts'

export type SigningContext = Pick<Context, 'config' | 'db' | 'clock' | 'keys' | 'log'>
export type AsymmetricAlgorithm = Exclude<Algorithm, 'HS256'>

type RingKey = {
  id: string
  algorithm: string
  signsFromMs: number
  /** When its last token is dead; Infinity while it has no successor. */
  verifiesUntilMs: number
  publicKey: CryptoKey
  published: PublicJwk
  /** Only of keys that sign now or later. */
  privateKey: CryptoKey | null
}

/** An unknown `kid` reads the keys again at most this often: a stranger chooses the `kid`. */
const REREAD_AFTER_MS = 5 * SECOND_MS
/** Without news, keys are read again this often: a rotation must not depend on one message. */
const STALE_AFTER_MS = MINUTE_MS
/** What another server's clock may be off by. */
export const CLOCK_MARGIN_MS = MINUTE_MS

/** A ring over the stored keys: the newest that is due signs, every one with a live token verifies. */
export async function openKeyRing(
  context: SigningContext,
  algorithm: AsymmetricAlgorithm,
): Promise<SigningRing> {
  const { config, clock, log } = context
  let ring = await loadRing(context, algorithm)
  let readAtMs = clock()
  let reading = Promise.resolve()
  let nextReading: Promise<void> | null = null
  /** One reading at a time, begun after the call: what an older one saw never replaces what a newer one did. */
  const reread = (): Promise<void> => {
    if (nextReading === null) {
      nextReading = reading.then(async () => {
        nextReading = null
        readAtMs = clock()
        ring = await loadRing(context, algorithm)
      })
      reading = nextReading.catch(() => {})
    }
    return nextReading
  }
  const refresh = () =>
    reread().catch((error) => log.error({ err: error }, 'Signing keys could not be read again'))
  const usable = () => [...ring.values()].filter((key) => clock() < key.verifiesUntilMs)
  const signer = () => {
    if (clock() - readAtMs > STALE_AFTER_MS) refresh()
    const signing = [...ring.values()].filter((key) => key.privateKey !== null)
    // None is due yet where another server's clock, which made the first one, is ahead.
    return signing.findLast((key) => key.signsFromMs <= clock()) ?? signing[0]
  }
  /** A key that is not known may be one that was just made. */
  const findKey = async (kid: string) => {
    if (!ring.has(kid)) await (clock() - readAtMs > REREAD_AFTER_MS ? reread() : reading)
    return ring.get(kid)
  }

  return {
    refresh,
    publicKeys: () => usable().map((key) => key.published),
    async sign(token) {
      const key = signer()
      if (!key?.privateKey) throw new Error(`No signing key for ${algorithm}`)
      return new SignJWT(ownClaims(token))
        .setProtectedHeader({ alg: algorithm, typ: ACCESS_TOKEN_TYPE, kid: key.id })
        .setIssuer(config.publicUrl)
        .setAudience(config.jwtAudience)
        .setSubject(token.subject)
        .setJti(newId())
        .setIssuedAt(Math.floor(clock() / 1000))
        .setExpirationTime(Math.floor(token.expiresAtMs / 1000))
        .sign(key.privateKey)
    },
    async verify(token) {
      const kid = keyIdOf(token)
      if (kid === null) return null
      const key = await findKey(kid)
      if (!key || clock() >= key.verifiesUntilMs) return null
      try {
        const { payload } = await jwtVerify(token, key.publicKey, {
          algorithms: [key.algorithm],
          issuer: config.publicUrl,
          audience: config.jwtAudience,
          typ: ACCESS_TOKEN_TYPE,
          requiredClaims: REQUIRED_CLAIMS,
          currentDate: new Date(clock()),
        })
        return readClaims(payload, kid)
      } catch {
        return null
      }
    },
  }
}

function keyIdOf(token: string): string | null {
  try {
    const { kid } = decodeProtectedHeader(token)
    return typeof kid === 'string' ? kid : null
  } catch {
    return null
  }
}

/**
 * When the last token that a key signed is dead: its successor took over, and a token's life has passed since. Where
 * ALGORITHM is another one now, that is when a server which has not heard of it would have rotated the key.
 * @param all every key, the revoked ones too: what took over from a key did so, whatever became of it
 */
export function verifiesUntil(
  row: SigningKeyRow,
  all: readonly SigningKeyRow[],
  config: Pick<Context['config'], 'algorithm' | 'accessTokenExpireMinutes' | 'signingKeyRotationDays'>,
): number {
  const tokenLastsMs = config.accessTokenExpireMinutes * MINUTE_MS + CLOCK_MARGIN_MS
  const successor = all.find(
    (other) => other.algorithm === row.algorithm && other.signsFrom > row.signsFrom && !isStillborn(other),
  )
  if (successor) return successor.signsFrom.getTime() + tokenLastsMs
  if (row.algorithm === config.algorithm) return Infinity
  return row.signsFrom.getTime() + (config.signingKeyRotationDays + 1) * DAY_MS + tokenLastsMs
}

/** Revoked before it signed: it took over from nobody. */
const isStillborn = ({ revokedAt, signsFrom }: SigningKeyRow) => revokedAt !== null && revokedAt <= signsFrom

async function loadRing(context: SigningContext, algorithm: string): Promise<ReadonlyMap<string, RingKey>> {
  const all = await listAllSigningKeys(context.db)
  const rows = all.filter((row) => row.revokedAt === null)
  const now = context.clock()
  const current = rows.findLast((row) => row.algorithm === algorithm && row.signsFrom.getTime() <= now)
  const keys = rows.map(async (row): Promise<[string, RingKey]> => {
    const signs = row.algorithm === algorithm && row.signsFrom >= (current?.signsFrom ?? row.signsFrom)
    const key = {
      id: row.id,
      algorithm: row.algorithm,
      signsFromMs: row.signsFrom.getTime(),
      verifiesUntilMs: verifiesUntil(row, all, context.config),
      publicKey: await importKey(row.publicJwk, row.algorithm),
      published: {
        ...row.publicJwk,
        kty: String(row.publicJwk.kty),
        kid: row.id,
        alg: row.algorithm,
        use: 'sig',
      },
      privateKey: signs ? await importPrivate(context, row) : null,
    }
    return [row.id, key]
  })
  return new Map(await Promise.all(keys))
}

function importPrivate(context: SigningContext, row: SigningKeyRow): Promise<CryptoKey> {
  return importKey(JSON.parse(openPrivate(context, row)) as JWK, row.algorithm)
}

/**
 * The private JWK of a stored key, as JSON.
 * @throws Error where neither SECRET_KEY nor SECRET_KEY_PREVIOUS made it
 */
export function openPrivate(context: Pick<Context, 'keys'>, row: SigningKeyRow): string {
  const opened = decrypt(context.keys.signing, row.id, row.privateKey)
  if (opened !== null) return opened
  throw new Error(
    'SECRET_KEY does not open the stored signing keys: set SECRET_KEY_PREVIOUS to the key that made them',
  )
}

async function importKey(jwk: JWK, algorithm: string): Promise<CryptoKey> {
  const key = await importJWK(jwk, algorithm)
  if (key instanceof Uint8Array) throw new Error('Not a public or private key')
  return key
}
