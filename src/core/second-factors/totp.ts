import { Secret, TOTP } from 'otpauth'
import { decrypt, encrypt } from '../../lib/encrypt.ts'
import { fail } from '../../lib/errors.ts'
import { SECOND_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import type { TotpRow } from './queries.ts'

/** RFC 6238 as every authenticator app knows it. */
const SHAPE = { algorithm: 'SHA1', digits: 6, period: 30 }
/** Steps by which an app's clock may be ahead or behind (RFC 6238, section 5.2; docs/second-factors.md). */
const SKEW = 1
const SECRET_BYTES = 20

/** A new secret, in base32. */
export const makeTotpSecret = (): string => new Secret({ size: SECRET_BYTES }).base32

/** The `otpauth://` address that an authenticator app reads. */
export const totpAddress = ({ config }: Pick<Context, 'config'>, email: string, secret: string): string =>
  new TOTP({ ...SHAPE, issuer: config.brandName, label: email, secret }).toString()

/** A secret as stored: encrypted under the present SECRET_KEY, for its own row alone. */
export function encryptTotpSecret({ keys }: Pick<Context, 'keys'>, id: string, secret: string): Uint8Array {
  const [key] = keys.totp
  if (!key) throw new Error('No key to encrypt TOTP secrets with')
  return encrypt(key, id, secret)
}

/**
 * The secret of a row, in base32.
 * @throws Problem unavailable where neither SECRET_KEY nor SECRET_KEY_PREVIOUS encrypted it
 */
export function decryptTotpSecret({ keys }: Pick<Context, 'keys'>, { id, secret }: TotpRow): string {
  const cause =
    'SECRET_KEY does not decrypt a TOTP secret: set SECRET_KEY_PREVIOUS to the key that encrypted it'
  return decrypt(keys.totp, id, secret) ?? fail('unavailable', { cause: new Error(cause) })
}

/**
 * The time step that a code belongs to. null: the code is wrong, or its step is not later than the last accepted one.
 */
export function findStep(
  context: Pick<Context, 'keys' | 'clock'>,
  row: TotpRow,
  typed: string,
): number | null {
  const timestamp = context.clock()
  const totp = new TOTP({ ...SHAPE, secret: decryptTotpSecret(context, row) })
  const delta = totp.validate({ token: typed.replace(/\s/g, ''), timestamp, window: SKEW })
  if (delta === null) return null
  const step = Math.floor(timestamp / SECOND_MS / SHAPE.period) + delta
  return step > (row.lastStep ?? -1) ? step : null
}
