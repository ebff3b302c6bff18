import type { SigningContext } from '../signing/asymmetric.ts'
import { rewrapSigningKeys } from '../signing/signing-keys.ts'
import { lockTotpSecrets, updateTotpSecrets } from './queries.ts'
import { decryptTotpSecret, encryptTotpSecret } from './totp.ts'

/** Secrets a transaction. */
const STEP = 500

/**
 * Encrypts every signing key and TOTP secret under the present SECRET_KEY: the second step of its rotation.
 * @returns how many of each there are
 * @throws Error where one was encrypted under neither SECRET_KEY nor SECRET_KEY_PREVIOUS
 */
export async function rewrapSecrets(
  context: SigningContext,
): Promise<{ rewrapped: number; totp_secrets: number }> {
  const totp_secrets = await rewrapTotpSecrets(context)
  return { ...(await rewrapSigningKeys(context, { totp_secrets })), totp_secrets }
}

async function rewrapTotpSecrets(context: SigningContext): Promise<number> {
  let total = 0
  let after: string | null = null
  for (;;) {
    const ids = await context.db.transaction(async (tx) => {
      const rows = await lockTotpSecrets(tx, after, STEP)
      const secrets = rows.map((row) => {
        const secret = encryptTotpSecret(context, row.id, decryptTotpSecret(context, row))
        return { id: row.id, secret }
      })
      if (secrets.length > 0) await updateTotpSecrets(tx, secrets)
      return rows.map(({ id }) => id)
    })
    total += ids.length
    after = ids.at(-1) ?? null
    if (ids.length < STEP) return total
  }
}
