/** Everything that the bench imports from Latchkey's source. All else comes from a running Latchkey. */

export { RefreshRequest, Tokens } from '../../src/core/sessions/model.ts'
export { createCredentialCache } from '../../src/core/verify/cache.ts'
export { VerifyRequest, VerifyResult } from '../../src/core/verify/model.ts'
export { listenForEvictions } from '../../src/core/verify/proof-of-life.ts'
export { openDatabase } from '../../src/db/open.ts'
export { deriveKeys } from '../../src/lib/derived-keys.ts'
export { silentLog } from '../../src/lib/log.ts'
export { createMetrics } from '../../src/lib/metrics.ts'
export { secret } from '../../src/lib/secret.ts'
export { makeApiKey, makeRefreshToken } from '../../src/lib/tokens.ts'
