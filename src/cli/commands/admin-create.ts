import { SYSTEM } from '../../core/audit/audit.ts'
import { createAdmin, presentUser } from '../../core/users/accounts.ts'
import { defineCommand } from '../command.ts'
import { generatePassword, readNewPassword, showPassword } from '../password.ts'

/** `latchkey admin create` */
export const command = defineCommand({
  kind: 'service',
  details: `
The password is asked for twice, unseen; an empty answer has one made. Where there is no terminal, or none is asked
for, a strong random one is made and printed, this once. With --password-stdin it is all of standard input, without
the line break at its end.`,
  examples: [
    'admin create --email you@example.com',
    'admin create --email you@example.com --password-stdin < password.txt',
  ],
  options: {
    email: { takes: 'EMAIL', required: true, summary: 'The address to log in with' },
    'password-stdin': { summary: 'Read the password from standard input' },
  },
  readInput: (io, args) => readNewPassword(io, args['password-stdin']),
  async run(context, { email }, input) {
    const password = input ?? generatePassword(context.config)
    const user = presentUser(await createAdmin(context, SYSTEM, { email, password }))
    return { ...user, ...(input === null && { password }) }
  },
  show: ({ email, id, password }) =>
    [`Admin ${email} made (id ${id}).`, ...showPassword(password)].join('\n'),
})
