import { drizzle } from 'drizzle-orm/postgres-js'
import { createApp } from '../../api/app.ts'
import type { Config } from '../../config/config.ts'
import type { OpenDatabase } from '../../db/database.ts'
import * as schema from '../../db/schema.ts'
import { silentLog } from '../../lib/log.ts'
import { secret } from '../../lib/secret.ts'
import { assembleContext } from '../../server/open.ts'
import { defineCommand } from '../command.ts'

/** `latchkey openapi`. */
export const commands = {
  openapi: defineCommand({
    kind: 'local',
    details: 'Always JSON, the same as at /openapi.json. Needs no database.',
    examples: ['openapi > openapi.json'],
    async run({ config }): Promise<unknown> {
      const { context } = await assembleContext(describable(config), NO_DATABASE, silentLog, {
        caching: false,
      })
      // The routes are those of the settings as they are.
      const described = { ...context, config: { ...context.config, algorithm: config.algorithm } }
      const answer = await createApp(described).handle(new Request('http://localhost/openapi.json'))
      if (!answer.ok) throw new Error(`the document could not be made (status ${answer.status})`)
      return answer.json()
    },
    show: (document) => JSON.stringify(document, null, 2),
  }),
}

/** Settings with which a context needs no database: HS256, because its signing key is derived from SECRET_KEY. */
function describable(config: Config): Config {
  return {
    ...config,
    mode: 'serve',
    algorithm: 'HS256',
    secretKey: secret('nothing is signed'),
    rateLimits: null,
  }
}

const refuse = () => Promise.reject(new Error('there is no database here'))

const NO_DATABASE: OpenDatabase = {
  kind: 'embedded',
  db: drizzle.mock({ schema }),
  load: () => ({ size: 0, inUse: 0, waiting: 0, timedOut: 0, turnedAway: 0 }),
  listen: refuse,
  notify: refuse,
  dump: null,
  assertWritable: refuse,
  close: async () => {},
}
