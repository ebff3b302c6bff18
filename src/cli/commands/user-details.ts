import { SYSTEM } from '../../core/audit/audit.ts'
import { OPERATOR } from '../../core/principal.ts'
import { listSessionsOfUser, presentSession } from '../../core/sessions/sessions.ts'
import { findUserById, presentForAdmins, removeUser, requireUserId } from '../../core/users/accounts.ts'
import { formatInstant } from '../../lib/time.ts'
import { DEFAULT_LIMIT, pageOptions } from '../arguments.ts'
import { defineCommand } from '../command.ts'
import { facts, table, withMore } from '../terminal.ts'

const who = { label: 'EMAIL|ID', summary: 'The user' }

/** `latchkey users show|sessions|delete`. */
export const commands = {
  'users show': defineCommand({
    kind: 'service',
    examples: ['users show user@example.com'],
    positionals: { who },
    async run(context, { who }) {
      const user = await findUserById(context.db, await requireUserId(context, who))
      if (!user) throw new Error('the user was deleted in this moment')
      return {
        ...(await presentForAdmins(context, user)),
        has_password: user.passwordHash !== null,
        has_second_factor: user.hasSecondFactor,
        first_login_at: formatInstant(user.firstLoginAt),
      }
    },
    show: facts,
  }),

  'users sessions': defineCommand({
    kind: 'service',
    details: 'Lists sessions that are live now. "latchkey users set-password" ends them all.',
    examples: ['users sessions user@example.com'],
    positionals: { who },
    options: pageOptions,
    async run(context, { who, limit, cursor }) {
      const page = { limit: Number(limit ?? DEFAULT_LIMIT), ...(cursor !== undefined && { cursor }) }
      const { rows, nextCursor } = await listSessionsOfUser(context, await requireUserId(context, who), page)
      return { items: rows.map((row) => presentSession(row, null)), next_cursor: nextCursor }
    },
    show({ items, next_cursor }) {
      const rows = items.map((session) => [
        session.kind,
        session.created_at,
        session.last_used_at,
        session.ip ?? '-',
        session.user_agent ?? '-',
        session.id,
      ])
      const headings = ['KIND', 'LOGGED IN', 'LAST USED', 'ADDRESS', 'BROWSER', 'ID']
      return withMore(table(headings, rows) || 'No live sessions.', next_cursor)
    },
  }),

  'users delete': defineCommand({
    kind: 'service',
    details: `
Deletes the user with all sessions and keys, for good; what the audit trail says of them stays. The service accounts that
only this user manages are listed: they become the admins', and stay enabled without --disable-service-accounts. The last
active admin cannot be deleted.`,
    examples: ['users delete user@example.com --disable-service-accounts'],
    positionals: { who },
    options: {
      'disable-service-accounts': {
        summary: 'Also disable the service accounts that only this user manages',
      },
    },
    async run(context, { who, 'disable-service-accounts': disablesAccounts }) {
      const id = await requireUserId(context, who)
      const accounts = await removeUser(context, SYSTEM, OPERATOR, id, { disablesAccounts })
      return { id, service_accounts: accounts }
    },
    show({ id, service_accounts }) {
      const list = table(
        ['SERVICE ACCOUNT', 'NAME'],
        service_accounts.map((account) => [account.id, account.name]),
      )
      const done = `The user ${id} is deleted.`
      return list === '' ? done : `${done} Service accounts that they alone managed:\n${list}`
    },
  }),
}
