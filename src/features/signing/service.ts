import {
  calculateJwkThumbprint,
  decodeProtectedHeader,
  exportJWK,
  generateKeyPair,
  importJWK,
  type JWK,
  jwtVerify,
  SignJWT,
} from 'jose'
import type { Algorithm } from '../../config.ts'
import type { Context } from '../../context.ts'
import { newId } from '../../lib/ids.ts'
import { recordEvent, SYSTEM } from '../audit/service.ts'
import { insertSigningKey, listSigningKeys, lockSigningKeys, type SigningKeyRow } from './queries.ts'
import {
  ACCESS_TOKEN_TYPE,
  ownClaims,
  type PublicJwk,
  REQUIRED_CLAIMS,
  readClaims,
  type SigningRing,
} from './ring.ts'
import { seal, unseal } from './seal.ts'
import { createSharedSecretRing } from './shared-secret.ts'

type SigningContext = Pick<Context, 'config' | 'db' | 'clock' | 'keys' | 'log'>
type AsymmetricAlgorithm = Exclude<Algorithm, 'HS256'>
type VerifyKey = { algorithm: string; key: CryptoKey; published: PublicJwk }
type Loaded = { verify: ReadonlyMap<string, VerifyKey>; sign: { id: string; key: CryptoKey } }

/** An unknown `kid` reads the keys again at most this often: a stranger chooses the `kid`. */
const REREAD_AFTER_MS = 5_000

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
  await ensureSigningKey(context, algorithm)
  let loaded = await loadKeys(context, algorithm)
  let readAtMs = clock()
  const reread = async () => {
    readAtMs = clock()
    loaded = await loadKeys(context, algorithm)
  }

  return {
    sign: (token) =>
      new SignJWT(ownClaims(token))
        .setProtectedHeader({ alg: algorithm, typ: ACCESS_TOKEN_TYPE, kid: loaded.sign.id })
        .setIssuer(config.publicUrl)
        .setAudience(config.jwtAudience)
        .setSubject(token.subject)
        .setJti(newId())
        .setIssuedAt(Math.floor(clock() / 1000))
        .setExpirationTime(Math.floor(token.expiresAtMs / 1000))
        .sign(loaded.sign.key),

    async verify(token) {
      const kid = keyIdOf(token)
      if (kid === null) return null
      if (!loaded.verify.has(kid) && clock() - readAtMs > REREAD_AFTER_MS) await reread()
      const known = loaded.verify.get(kid)
      if (!known) return null
      try {
        const { payload } = await jwtVerify(token, known.key, {
          algorithms: [known.algorithm],
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
    publicKeys: () => [...loaded.verify.values()].map((key) => key.published),
    refresh: () => {
      reread().catch((error) => context.log.error({ err: error }, 'Signing keys could not be read again'))
    },
  }
}

function keyIdOf(token: string): string | null {
  try {
    return decodeProtectedHeader(token).kid ?? null
  } catch {
    return null
  }
}

async function ensureSigningKey(context: SigningContext, algorithm: AsymmetricAlgorithm): Promise<void> {
  const isOfAlgorithm = (key: SigningKeyRow) => key.algorithm === algorithm
  if ((await listSigningKeys(context.db)).some(isOfAlgorithm)) return
  await context.db.transaction(async (tx) => {
    await lockSigningKeys(tx)
    if ((await listSigningKeys(tx)).some(isOfAlgorithm)) return
    const now = new Date(context.clock())
    const key = await makeSigningKey(context, algorithm)
    await insertSigningKey(tx, { ...key, createdAt: now, signsFrom: now })
    await recordEvent(tx, context, SYSTEM, {
      action: 'signing_key.created',
      target: { type: 'signing_key', id: key.id },
      details: { algorithm },
    })
  })
}

async function makeSigningKey(context: SigningContext, algorithm: AsymmetricAlgorithm) {
  const { publicKey, privateKey } = await generateKeyPair(algorithm, { extractable: true })
  const publicJwk = await exportJWK(publicKey)
  const id = await calculateJwkThumbprint(publicJwk)
  const [sealingKey] = context.keys.signing
  if (!sealingKey) throw new Error('No key to seal signing keys with')
  return {
    id,
    algorithm,
    publicJwk: { ...publicJwk },
    privateKey: seal(sealingKey, id, JSON.stringify(await exportJWK(privateKey))),
  }
}

async function loadKeys(context: SigningContext, algorithm: AsymmetricAlgorithm): Promise<Loaded> {
  const rows = await listSigningKeys(context.db)
  const current = rows.findLast(
    (row) => row.algorithm === algorithm && row.signsFrom.getTime() <= context.clock(),
  )
  if (!current) throw new Error(`No signing key for ${algorithm}`)
  const verify = await Promise.all(rows.map(async (row) => [row.id, await importPublic(row)] as const))
  return { verify: new Map(verify), sign: { id: current.id, key: await importPrivate(context, current) } }
}

async function importPublic(row: SigningKeyRow): Promise<VerifyKey> {
  const published = {
    ...row.publicJwk,
    kty: String(row.publicJwk.kty),
    kid: row.id,
    alg: row.algorithm,
    use: 'sig' as const,
  }
  return { algorithm: row.algorithm, key: await importKey(row.publicJwk, row.algorithm), published }
}

function importPrivate(context: SigningContext, row: SigningKeyRow): Promise<CryptoKey> {
  const opened = unseal(context.keys.signing, row.id, row.privateKey)
  if (opened === null) {
    throw new Error(
      'SECRET_KEY does not open the stored signing keys: set SECRET_KEY_PREVIOUS to the key that made them',
    )
  }
  return importKey(JSON.parse(opened) as JWK, row.algorithm)
}

async function importKey(jwk: JWK, algorithm: string): Promise<CryptoKey> {
  const key = await importJWK(jwk, algorithm)
  if (key instanceof Uint8Array) throw new Error('Not a public or private key')
  return key
}
