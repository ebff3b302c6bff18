import { showConfig } from '../../config/show.ts'
import { defineCommand } from '../command.ts'

/** `latchkey config`. */
export const commands = {
  config: defineCommand({
    kind: 'local',
    details:
      'Secrets are hidden: the password in DATABASE_URL, and keys completely. A setting that is not set is empty.',
    run: async ({ config, warnings, io }) => {
      for (const warning of warnings) io.err(`warning: ${warning}\n`)
      return showConfig(config)
    },
    show: (settings) =>
      Object.entries(settings)
        .map(([name, value]) => `${name}=${value ?? ''}`)
        .join('\n'),
  }),
}
