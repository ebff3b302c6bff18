import { showConfig } from '../../config/show.ts'
import { defineCommand } from '../command.ts'
import { proxyLines } from './proxy-lines.ts'

/** `latchkey config`. */
export const commands = {
  config: defineCommand({
    kind: 'local',
    details:
      'Secrets are hidden: the password in DATABASE_URL, and keys completely. A setting that is not set is empty. With API_KEY_HEADERS it also prints what nginx and Caddy need for them.',
    run: async ({ config, warnings, io }) => {
      for (const warning of warnings) io.err(`warning: ${warning}\n`)
      return showConfig(config)
    },
    show: (settings) =>
      [
        ...Object.entries(settings).map(([name, value]) => `${name}=${value ?? ''}`),
        ...proxyLines({
          apiKeyHeaders: String(settings.API_KEY_HEADERS ?? '')
            .split(',')
            .filter(Boolean),
        }),
      ].join('\n'),
  }),
}
