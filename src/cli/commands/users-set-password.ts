import { SYSTEM } from '../../core/audit/audit.ts'
import { setPasswordFor } from '../../core/login/password.ts'
import { requireUserId } from '../../core/users/accounts.ts'
import { defineCommand } from '../command.ts'
import { generatePassword, readNewPassword, showPassword } from '../password.ts'
import { counted } from '../table.ts'

/** `latchkey users set-password` */
export const command = defineCommand({
  kind: 'service',
  details: `
Ends the user's sessions, and reset tokens that nobody used. The password is asked for twice, unseen; an empty answer
has one made. Where there is no terminal a strong random one is made and printed, this once. With --password-stdin it
is all of standard input, without the line break at its end.`,
  examples: [
    'users set-password user@example.com',
    'users set-password user@example.com --revoke-keys --password-stdin < password.txt',
  ],
  positionals: { who: { label: 'EMAIL|ID', summary: 'The user' } },
  options: {
    'password-stdin': { summary: 'Read the password from standard input' },
    'revoke-keys': { summary: "End the user's API keys too" },
  },
  readInput: (io, args) => readNewPassword(io, args['password-stdin']),
  async run(context, { who, 'revoke-keys': revokesKeys }, input) {
    const id = await requireUserId(context, who)
    const password = input ?? generatePassword(context.config)
    const ended = await setPasswordFor(context, SYSTEM, id, password, { revokesKeys })
    return { id, ...ended, ...(input === null && { password }) }
  },
  show: ({ sessions_ended, keys_revoked, password }) => {
    const keys = keys_revoked > 0 ? ` and ${counted(keys_revoked, 'key')}` : ''
    const ended = `The password is set; ${counted(sessions_ended, 'session')}${keys} ended.`
    return [ended, ...showPassword(password)].join('\n')
  },
})
