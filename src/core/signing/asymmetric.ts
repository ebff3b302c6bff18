import { decodeProtectedHeader, importJWK, type JWK, jwtVerify, SignJWT } from 'jose'
import type { Algorithm } from '../../config/config.ts'
import { decrypt } from '../../lib/encrypt.ts'
import { newId } from '../../lib/ids.ts'
import { DAY_MS, MINUTE_MS, SECOND_MS } from '../../lib/time.ts'
import { ACCESS_TOKEN_TYPE } from '../../lib/tokens.ts'
import type { Context } from '../context.ts'
import {
  ANY_AGE_SECONDS,
  idTokenClaims,
  ownClaims,
  REQUIRED_CLAIMS,
  readClaims,
  type SigningKeys,
} from './claims.ts'
import type { PublicJwk } from './model.ts'
import {
  listAllSigningKeys,
  listPublicSigningKeys,
  type PublicSigningKey,
  type SigningKeyRow,
} from './queries.ts'

export type SigningContext = Pick<Context, 'config' | 'db' | 'clock' | 'keys' | 'log'>
export type AsymmetricAlgorithm = Exclude<Algorithm, 'HS256'>

type LoadedKey = {
  id: string
  algorithm: string
  signsFromMs: number
  /** When the last token that the key signed expires; Infinity while the key has no successor. */
  verifiesUntilMs: number
  publicKey: CryptoKey
  published: PublicJwk
  /** null for keys that have stopped signing, and in a region. */
  privateKey: CryptoKey | null
}

/**
 * An unknown `kid` causes at most one reading of the keys in this time. The sender chooses the `kid`, so forged tokens
 * would otherwise cause a query each.
 */
const REREAD_AFTER_MS = 5 * SECOND_MS
/**
 * Keys are read again after this time even without an eviction, so that a rotation is noticed where its message was
 * lost.
 */
const STALE_AFTER_MS = MINUTE_MS
/** The `typ` of ID tokens: no access token has it, so that neither passes for the other. */
const ID_TOKEN_TYPE = 'JWT'
const HINT_LASTS_DAYS = 365
/** The greatest difference between the clocks of two servers that is tolerated. */
export const CLOCK_MARGIN_MS = MINUTE_MS

/**
 * Signs and verifies with the stored keys. The newest key whose time has come signs; every key whose tokens may still
 * be valid verifies.
 */
export async function openAsymmetricKeys(
  context: SigningContext,
  algorithm: AsymmetricAlgorithm,
): Promise<SigningKeys> {
  const { config, clock, log } = context
  const canSign = config.mode === 'serve'
  let loaded = await loadKeys(context, algorithm, canSign)
  let readAtMs = clock()
  let reading = Promise.resolve()
  let nextReading: Promise<void> | null = null
  /**
   * Reads the keys again, one reading at a time. The reading begins after the call, and an older reading never
   * overwrites the result of a newer one: a revoked key could otherwise come back.
   */
  const reread = (): Promise<void> => {
    if (nextReading === null) {
      nextReading = reading.then(async () => {
        nextReading = null
        readAtMs = clock()
        loaded = await loadKeys(context, algorithm, canSign)
      })
      reading = nextReading.catch(() => {})
    }
    return nextReading
  }
  const refresh = () =>
    reread().catch((error) => log.error({ err: error }, 'Signing keys could not be read again'))
  const usable = () => [...loaded.values()].filter((key) => clock() < key.verifiesUntilMs)
  const signer = () => {
    if (clock() - readAtMs > STALE_AFTER_MS) refresh()
    const signing = [...loaded.values()].filter((key) => key.privateKey !== null)
    // Where the server that made the first key has a clock that is ahead, no key is due here yet. The first one then
    // signs anyway.
    return signing.findLast((key) => key.signsFromMs <= clock()) ?? signing[0]
  }
  /** An unknown key may have been made a moment ago, so the keys are read again. */
  const findKey = async (kid: string) => {
    if (!loaded.has(kid)) await (clock() - readAtMs > REREAD_AFTER_MS ? reread() : reading)
    return loaded.get(kid)
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
        .setAudience(token.audience)
        .setSubject(token.subject)
        .setJti(newId())
        .setIssuedAt(Math.floor(clock() / 1000))
        .setExpirationTime(Math.floor(token.expiresAtMs / 1000))
        .sign(key.privateKey)
    },
    async signIdToken(token) {
      const key = signer()
      if (!key?.privateKey) throw new Error(`No signing key for ${algorithm}`)
      return new SignJWT(idTokenClaims(token))
        .setProtectedHeader({ alg: algorithm, typ: ID_TOKEN_TYPE, kid: key.id })
        .setIssuer(config.publicUrl)
        .setAudience(token.audience)
        .setSubject(token.subject)
        .setIssuedAt(Math.floor(clock() / 1000))
        .setExpirationTime(Math.floor(token.expiresAtMs / 1000))
        .sign(key.privateKey)
    },
    async readIdToken(token) {
      const kid = keyIdOf(token)
      const key = kid === null ? null : await findKey(kid)
      if (!key || clock() >= key.verifiesUntilMs) return null
      try {
        const { payload } = await jwtVerify(token, key.publicKey, {
          algorithms: [key.algorithm],
          issuer: config.publicUrl,
          typ: ID_TOKEN_TYPE,
          requiredClaims: ['sub', 'aud', 'iat', 'exp'],
          // An app keeps the token for as long as it likes, and shows it at the end.
          clockTolerance: `${HINT_LASTS_DAYS} days`,
          currentDate: new Date(clock()),
        })
        const { sub, aud } = payload
        return typeof sub === 'string' && typeof aud === 'string' ? { subject: sub, clientId: aud } : null
      } catch {
        return null
      }
    },
    async verify(token, expiry) {
      const kid = keyIdOf(token)
      if (kid === null) return null
      const key = await findKey(kid)
      if (!key || clock() >= key.verifiesUntilMs) return null
      try {
        const { payload } = await jwtVerify(token, key.publicKey, {
          algorithms: [key.algorithm],
          issuer: config.publicUrl,
          typ: ACCESS_TOKEN_TYPE,
          requiredClaims: REQUIRED_CLAIMS,
          currentDate: new Date(clock()),
          clockTolerance: expiry === undefined ? 0 : ANY_AGE_SECONDS,
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
 * When the last token that a key signed expires: its successor has begun to sign, and the lifetime of a token has
 * passed since. Where ALGORITHM has been changed, a server that still uses the old one is assumed to rotate at the
 * latest after SIGNING_KEY_ROTATION_DAYS.
 * @param all every key, including revoked ones: a successor that was revoked has still taken over
 * @returns milliseconds since the epoch, or Infinity
 */
export function verifiesUntil(
  row: PublicSigningKey,
  all: readonly PublicSigningKey[],
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

/** Whether a key was revoked before it began to sign. Such a key is no successor. */
const isStillborn = ({ revokedAt, signsFrom }: PublicSigningKey) =>
  revokedAt !== null && revokedAt <= signsFrom

/** @param canSign false: the copy of a region has no private keys */
async function loadKeys(
  context: SigningContext,
  algorithm: string,
  canSign: boolean,
): Promise<ReadonlyMap<string, LoadedKey>> {
  const all: (PublicSigningKey & Partial<SigningKeyRow>)[] = canSign
    ? await listAllSigningKeys(context.db)
    : await listPublicSigningKeys(context.db)
  const rows = all.filter((row) => row.revokedAt === null)
  const now = context.clock()
  const current = rows.findLast((row) => row.algorithm === algorithm && row.signsFrom.getTime() <= now)
  const keys = rows.map(async (row): Promise<[string, LoadedKey]> => {
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
      privateKey:
        signs && row.privateKey ? await importPrivate(context, { ...row, privateKey: row.privateKey }) : null,
    }
    return [row.id, key]
  })
  return new Map(await Promise.all(keys))
}

function importPrivate(context: SigningContext, row: SigningKeyRow): Promise<CryptoKey> {
  return importKey(JSON.parse(openPrivate(context, row)) as JWK, row.algorithm)
}

/**
 * Decrypts the private key of a stored key.
 * @returns the private JWK, as JSON
 * @throws Error where neither SECRET_KEY nor SECRET_KEY_PREVIOUS decrypts it
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
