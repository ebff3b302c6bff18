import { SYSTEM } from '../../core/audit/audit.ts'
import { changeUser, presentForAdmins, requireUserId } from '../../core/users/accounts.ts'
import { defineCommand } from '../command.ts'

/** `latchkey users enable` */
export const command = defineCommand({
  kind: 'service',
  details: 'Their keys work again; sessions that ended stay over.',
  examples: ['users enable user@example.com'],
  positionals: { who: { label: 'EMAIL|ID', summary: 'The user' } },
  run: async (context, { who }) =>
    presentForAdmins(
      await changeUser(context, SYSTEM, null, await requireUserId(context, who), { is_active: true }),
    ),
  show: ({ email }) => `${email} is enabled.`,
})
