import { randomBytes } from 'node:crypto'
import type { Config } from '../../src/config/config.ts'
import { readConfig } from '../../src/config/read.ts'
import { secret } from '../../src/lib/secret.ts'

/** The default settings with a new key and without rate limits by address, and the test's own settings. */
export function testConfig(overrides: Partial<Config> = {}): Config {
  const result = readConfig({}, { isTerminal: true })
  if ('faults' in result) throw new Error(result.faults.join('\n'))
  const secretKey = secret(randomBytes(48).toString('base64'))
  return {
    ...result.config,
    secretKey,
    rateLimits: null,
    algorithm: 'ES256',
    logLevel: 'error',
    ...overrides,
  }
}
