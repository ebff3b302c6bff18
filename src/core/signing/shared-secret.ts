import { jwt } from '@elysiajs/jwt'
import type { Config } from '../../config/config.ts'
import { newId } from '../../lib/ids.ts'
import type { Secret } from '../../lib/secret.ts'
import type { Clock } from '../../lib/time.ts'
import { ACCESS_TOKEN_TYPE } from '../../lib/tokens.ts'
import { ANY_AGE_SECONDS, ownClaims, REQUIRED_CLAIMS, readClaims, type SigningKeys } from './claims.ts'

const KEY_ID = 'hs256'

/**
 * ALGORITHM=HS256: signs tokens with SECRET_KEY itself, as the replaced service did, through @elysiajs/jwt. Each call
 * states what the plugin does not check by itself: algorithm, issuer, audience, type, claims and clock.
 * @param secrets SECRET_KEY, and SECRET_KEY_PREVIOUS during a rotation: the first signs, all verify
 */
export function createSharedSecretKeys(
  config: Config,
  secrets: readonly Secret[],
  clock: Clock,
): SigningKeys {
  const signers = secrets.map((secret) => {
    const plugin = jwt({ secret: secret.reveal(), alg: 'HS256', typ: ACCESS_TOKEN_TYPE, kid: KEY_ID })
    return plugin.decorator.jwt
  })
  const [signer] = signers
  if (!signer) throw new Error('HS256 needs SECRET_KEY')

  return {
    sign: (token) =>
      signer.sign({
        ...ownClaims(token),
        iss: config.publicUrl,
        aud: token.audience,
        sub: token.subject,
        jti: newId(),
        exp: Math.floor(token.expiresAtMs / 1000),
      }),
    async verify(token, expiry) {
      for (const { verify } of signers) {
        const payload = await verify(token, {
          algorithms: ['HS256'],
          issuer: config.publicUrl,
          typ: ACCESS_TOKEN_TYPE,
          requiredClaims: REQUIRED_CLAIMS,
          currentDate: new Date(clock()),
          clockTolerance: expiry === undefined ? 0 : ANY_AGE_SECONDS,
        })
        if (payload) return readClaims(payload, null)
      }
      return null
    },
    signIdToken: () => Promise.reject(new Error('ALGORITHM=HS256 signs no ID tokens')),
    readIdToken: async () => null,
    publicKeys: () => [],
    refresh: async () => {},
  }
}
