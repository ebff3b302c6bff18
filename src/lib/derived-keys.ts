import { createHmac, hkdfSync } from 'node:crypto'
import type { Secret } from './secret.ts'

/**
 * The keys for each purpose. The first key comes from SECRET_KEY, the second one from SECRET_KEY_PREVIOUS
 * where that is set.
 */
export type DerivedKeys = {
  refresh: readonly Uint8Array[]
  email: readonly Uint8Array[]
  signing: readonly Uint8Array[]
  cursor: readonly Uint8Array[]
  cookie: readonly Uint8Array[]
  oneTime: readonly Uint8Array[]
  totp: readonly Uint8Array[]
  loginTime: readonly Uint8Array[]
}

/** Of a process without SECRET_KEY: a verifier in a region makes and reads nothing that takes one. */
export const NO_KEYS: DerivedKeys = {
  refresh: [],
  email: [],
  signing: [],
  cursor: [],
  cookie: [],
  oneTime: [],
  totp: [],
  loginTime: [],
}

/**
 * Derives a 32-byte key for each purpose by HKDF-SHA-256 (RFC 5869). Separate keys keep a MAC of one purpose
 * from being accepted for another.
 */
export function deriveKeys(current: Secret, previous: Secret | null): DerivedKeys {
  const secrets = previous ? [current, previous] : [current]
  const derive = (purpose: string) =>
    secrets.map((s) => new Uint8Array(hkdfSync('sha256', s.reveal(), '', `latchkey ${purpose} v1`, 32)))
  return {
    refresh: derive('refresh'),
    email: derive('email'),
    signing: derive('signing'),
    cursor: derive('cursor'),
    cookie: derive('cookie'),
    oneTime: derive('one-time token'),
    totp: derive('totp'),
    loginTime: derive('time of a log-in'),
  }
}

/** HMAC-SHA-256 of `data` under `key`: 32 bytes. */
export function hmac(key: Uint8Array, data: Uint8Array | string): Uint8Array {
  return createHmac('sha256', key).update(data).digest()
}
