import { SYSTEM } from '../../core/audit/audit.ts'
import { createUser, presentForAdmins } from '../../core/users/accounts.ts'
import { defineCommand } from '../command.ts'
import { generatePassword, readNewPassword, showPassword } from '../password.ts'

/** `latchkey users create` */
export const command = defineCommand({
  kind: 'service',
  details: `
The password is asked for twice, unseen; an empty answer has one made. Where there is no terminal a strong random one
is made and printed, this once. With --password-stdin it is all of standard input, without the line break at its end.
With --no-password nobody can log in to the account until a password is set. SIGNUP=closed does not matter here.`,
  examples: [
    'users create --email user@example.com',
    'users create --email user@example.com --role admin --password-stdin < password.txt',
  ],
  options: {
    email: { takes: 'EMAIL', required: true, summary: 'The address to log in with' },
    role: { takes: 'ROLE', choices: ['admin', 'user'], summary: 'admin, or user (the default)' },
    'email-verified': { summary: 'The address is known to be theirs' },
    'password-stdin': { summary: 'Read the password from standard input' },
    'no-password': { summary: 'Set no password' },
  },
  async readInput(io, args) {
    if (!args['no-password']) return readNewPassword(io, args['password-stdin'])
    if (args['password-stdin']) throw new Error('--password-stdin and --no-password exclude each other')
    return null
  },
  async run(context, args, input) {
    const { email, role = 'user', 'email-verified': emailVerified, 'no-password': hasNone } = args
    const password = hasNone ? null : (input ?? generatePassword(context.config))
    const user = await createUser(context, SYSTEM, { email, password, role, emailVerified })
    const isMade = input === null && password !== null
    return { ...presentForAdmins(user), ...(isMade && { password }) }
  },
  show: ({ email, role, id, password }) =>
    [`User ${email} made (role ${role}, id ${id}).`, ...showPassword(password)].join('\n'),
})
