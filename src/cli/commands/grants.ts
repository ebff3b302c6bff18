import { SYSTEM } from '../../core/audit/audit.ts'
import { endGrant, listGrantsOfUser, presentGrant } from '../../core/grants/grants.ts'
import { OPERATOR } from '../../core/principal.ts'
import { requireUserId } from '../../core/users/accounts.ts'
import { DEFAULT_LIMIT, pageOptions } from '../arguments.ts'
import { defineCommand } from '../command.ts'
import { table, withMore } from '../terminal.ts'

const who = { label: 'EMAIL|ID', summary: 'The user' }

/** `latchkey grants …`. */
export const commands = {
  'grants list': defineCommand({
    kind: 'service',
    examples: ['grants list user@example.com', 'grants list user@example.com --json'],
    positionals: { who },
    options: pageOptions,
    async run(context, { who, limit, cursor }) {
      const page = await listGrantsOfUser(context, await requireUserId(context, who), {
        limit: Number(limit ?? DEFAULT_LIMIT),
        ...(cursor !== undefined && { cursor }),
      })
      return { items: page.rows.map((row) => presentGrant(context, row)), next_cursor: page.nextCursor }
    },
    show({ items, next_cursor }) {
      const rows = items.map(({ id, client, resource, scopes, last_used_at, sessions }) => [
        client.name,
        resource.name,
        scopes.join(' '),
        String(sessions),
        last_used_at ?? '-',
        id,
      ])
      const headings = ['APP', 'API', 'SCOPES', 'SESSIONS', 'LAST USED', 'ID']
      return withMore(table(headings, rows) || 'This user allowed no app.', next_cursor)
    },
  }),

  'grants end': defineCommand({
    kind: 'service',
    details: 'Ends what a user allowed an app, and every session of the app under it.',
    examples: ['grants end user@example.com 01993c1e-7b7c-7cc2-9d2e-3f0a4b5c6d7e --created'],
    positionals: { who, id: { label: 'ID', summary: 'The grant' } },
    options: { created: { summary: 'Also revoke the API keys that the app made' } },
    async run(context, { who, id, created }) {
      const userId = await requireUserId(context, who)
      await endGrant(context, SYSTEM, OPERATOR, { userId, id }, { created })
      return { id }
    },
    show: ({ id }) => `The grant ${id} has ended.`,
  }),
}
