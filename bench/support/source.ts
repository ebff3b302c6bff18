/** Everything that the bench imports from Latchkey's source. All else comes from a running Latchkey. */

export { RefreshRequest, Tokens } from '../../src/core/sessions/model.ts'
export { VerifyRequest, VerifyResult } from '../../src/core/verify/model.ts'
export { deriveKeys } from '../../src/lib/derived-keys.ts'
export { secret } from '../../src/lib/secret.ts'
export { makeApiKey, makeRefreshToken } from '../../src/lib/tokens.ts'
