import { createHmac, createPrivateKey, type KeyObject, sign } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { listSigningKeys } from '../../src/core/signing/queries.ts'
import { decrypt } from '../../src/lib/encrypt.ts'
import type { TestService } from './service.ts'

/** Anything that JSON can say, also what no library would sign. */
export type Claims = Record<string, unknown>

/** Signs what goes before the last dot of a JWS. */
export type Signer = (input: string) => Uint8Array

/** Puts a JWS together by hand; an undefined member is left out. */
export function assemble(header: Claims, payload: Claims | string, signer: Signer): string {
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload)
  const input = `${encode(JSON.stringify(header))}.${encode(text)}`
  return `${input}.${Buffer.from(signer(input)).toString('base64url')}`
}

/** A genuine token's own header and claims. */
export function partsOf(token: string): { header: Claims; payload: Claims } {
  return { header: { ...decodeProtectedHeader(token) }, payload: { ...decodeJwt(token) } }
}

/** The service's own signature: what only it could make. */
export async function ownSigner(service: TestService): Promise<Signer> {
  const { algorithm, secretKey } = service.config
  if (algorithm === 'HS256') return hmacSigner('sha256', secretKey?.reveal() ?? '')
  const row = (await listSigningKeys(service.context.db)).find((key) => key.algorithm === algorithm)
  const jwk = row && decrypt(service.context.keys.signing, row.id, row.privateKey)
  if (!jwk) throw new Error('No signing key')
  return keySigner(algorithm, createPrivateKey({ key: JSON.parse(jwk), format: 'jwk' }))
}

/** HMAC, under any bytes. */
export const hmacSigner =
  (hash: string, key: string | Uint8Array): Signer =>
  (input) =>
    createHmac(hash, key).update(input).digest()

/** ES256, RS256 or EdDSA by a private key. */
export const keySigner =
  (algorithm: string, key: KeyObject): Signer =>
  (input) =>
    sign(algorithm === 'EdDSA' ? null : 'sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })

/** No signature at all. */
export const unsigned: Signer = () => new Uint8Array()

const encode = (text: string) => Buffer.from(text).toString('base64url')
