import { SYSTEM } from '../../core/audit/audit.ts'
import { endEverySession } from '../../core/sessions/sessions.ts'
import { defineCommand } from '../command.ts'
import { counted } from '../terminal.ts'

/** `latchkey sessions end --all`. */
export const commands = {
  'sessions end': defineCommand({
    kind: 'service',
    details: `
Every user has to log in again. API keys stay valid. Use it after a restore from a backup, in which sessions are active
again that had ended, or after a theft of the database.`,
    examples: ['sessions end --all'],
    options: { all: { required: true, summary: 'Every session of every user' } },
    run: (context) => endEverySession(context, SYSTEM),
    show: ({ ended }) => `${counted(ended, 'session')} ended.`,
  }),
}
