import { SYSTEM } from '../../core/audit/audit.ts'
import { changeUser, presentForAdmins, requireUserId } from '../../core/users/accounts.ts'
import { defineCommand } from '../command.ts'

/** `latchkey users disable` */
export const command = defineCommand({
  kind: 'service',
  details: `
Ends the user's sessions at once; their keys rest until they are enabled again. Service accounts that they made go on.
The last active admin stays one.`,
  examples: ['users disable user@example.com'],
  positionals: { who: { label: 'EMAIL|ID', summary: 'The user' } },
  run: async (context, { who }) =>
    presentForAdmins(
      await changeUser(context, SYSTEM, null, await requireUserId(context, who), { is_active: false }),
    ),
  show: ({ email }) => `${email} is disabled.`,
})
