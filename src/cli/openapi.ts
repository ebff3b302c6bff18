import { drizzle } from 'drizzle-orm/postgres-js'
import { createApp } from '../app.ts'
import type { Config } from '../config.ts'
import type { Context } from '../context.ts'
import * as schema from '../db/schema.ts'
import { createPasswordHasher } from '../features/auth/passwords.ts'
import { createCredentialCache } from '../features/verify/cache.ts'
import { deriveKeys } from '../lib/derived-keys.ts'
import { silentLog } from '../lib/log.ts'
import { secret } from '../lib/secret.ts'
import { defineCommand } from './command.ts'

/** `latchkey openapi` */
export const command = defineCommand({
  kind: 'local',
  details: 'Always JSON, the same as at /openapi.json. Needs no database.',
  examples: ['openapi > openapi.json'],
  async run({ config }): Promise<unknown> {
    const app = createApp(contextWithoutDatabase(config))
    const answer = await app.handle(new Request('http://localhost/openapi.json'))
    if (!answer.ok) throw new Error(`the document could not be made (status ${answer.status})`)
    return answer.json()
  },
  show: (document) => JSON.stringify(document, null, 2),
})

/** Enough to put the routes together; nothing that answers a request is in it. */
function contextWithoutDatabase(config: Config): Context {
  const refuse = () => Promise.reject(new Error('there is no signing key here'))
  return {
    config: { ...config, rateLimits: null },
    db: drizzle.mock({ schema }),
    clock: Date.now,
    log: silentLog,
    cache: createCredentialCache(Date.now, true),
    keys: deriveKeys(secret(''), null),
    signing: { sign: refuse, verify: refuse, publicKeys: () => [], refresh: () => {} },
    passwords: createPasswordHasher(config),
  }
}
