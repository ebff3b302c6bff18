/** All that the bench takes from the source of Latchkey: it asks a running Latchkey for the rest. */

export { RefreshRequest, Tokens } from '../../src/core/sessions/model.ts'
export { VerifyRequest, VerifyResult } from '../../src/core/verify/model.ts'
export { deriveKeys } from '../../src/lib/derived-keys.ts'
export { secret } from '../../src/lib/secret.ts'
export { makeApiKey, makeRefreshToken } from '../../src/lib/tokens.ts'
