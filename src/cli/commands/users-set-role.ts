import { SYSTEM } from '../../core/audit/audit.ts'
import { changeUser, presentUser, requireUserId } from '../../core/users/accounts.ts'
import { defineCommand } from '../command.ts'

/** `latchkey users set-role` */
export const command = defineCommand({
  kind: 'service',
  details: 'Holds from the next request of that user on. The last active admin stays one.',
  examples: ['users set-role you@example.com admin'],
  positionals: {
    who: { label: 'EMAIL|ID', summary: 'The user' },
    role: { label: 'admin|user', summary: 'The role', choices: ['admin', 'user'] },
  },
  run: async (context, { who, role }) =>
    presentUser(await changeUser(context, SYSTEM, null, await requireUserId(context, who), { role })),
  show: ({ email, role }) => `${email} has the role ${role}.`,
})
