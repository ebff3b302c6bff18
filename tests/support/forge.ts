import { createHmac, createPrivateKey, type KeyObject, sign } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { listSigningKeys } from '../../src/core/signing/queries.ts'
import { decrypt } from '../../src/lib/encrypt.ts'
import type { TestService } from './service.ts'

/** Any JSON value, also claims that no library would sign. */
export type Claims = Record<string, unknown>

/** Signs the part of a JWS before the last dot. */
export type Signer = (input: string) => Uint8Array

/** Assembles a JWS by hand. A member with the value undefined is left out. */
export function assemble(header: Claims, payload: Claims | string, signer: Signer): string {
  const text = typeof payload === 'string' ? payload : JSON.stringify(payload)
  const input = `${encode(JSON.stringify(header))}.${encode(text)}`
  return `${input}.${Buffer.from(signer(input)).toString('base64url')}`
}

/** The header and claims of a genuine token. */
export function partsOf(token: string): { header: Claims; payload: Claims } {
  return { header: { ...decodeProtectedHeader(token) }, payload: { ...decodeJwt(token) } }
}

/** Signs with the service's own key, as only the service itself can. */
export async function ownSigner(service: TestService): Promise<Signer> {
  const { algorithm, secretKey } = service.config
  if (algorithm === 'HS256') return hmacSigner('sha256', secretKey?.reveal() ?? '')
  const row = (await listSigningKeys(service.context.db)).find((key) => key.algorithm === algorithm)
  const jwk = row && decrypt(service.context.keys.signing, row.id, row.privateKey)
  if (!jwk) throw new Error('No signing key')
  return keySigner(algorithm, createPrivateKey({ key: JSON.parse(jwk), format: 'jwk' }))
}

/** Signs by HMAC with any bytes as the key. */
export const hmacSigner =
  (hash: string, key: string | Uint8Array): Signer =>
  (input) =>
    createHmac(hash, key).update(input).digest()

/** Signs by ES256, RS256 or EdDSA with a private key. */
export const keySigner =
  (algorithm: string, key: KeyObject): Signer =>
  (input) =>
    sign(algorithm === 'EdDSA' ? null : 'sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })

/** No signature at all. */
export const unsigned: Signer = () => new Uint8Array()

const encode = (text: string) => Buffer.from(text).toString('base64url')
