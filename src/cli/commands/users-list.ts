import { listAllUsers, presentForAdmins } from '../../core/users/accounts.ts'
import { defineCommand } from '../command.ts'
import { table } from '../table.ts'

const DEFAULT_LIMIT = 100
const MAX_LIMIT = 10_000

/** `latchkey users list` */
export const command = defineCommand({
  kind: 'service',
  examples: ['users list --query @example.com', 'users list --limit 10000 --json'],
  options: {
    query: { takes: 'TEXT', summary: 'Only those whose address contains it' },
    limit: { takes: 'N', range: [1, MAX_LIMIT], summary: `At most so many (${DEFAULT_LIMIT})` },
    cursor: { takes: 'CURSOR', summary: 'Go on where a page before ended' },
  },
  async run(context, { query, limit, cursor }) {
    const page = await listAllUsers(context, { text: query, limit: Number(limit ?? DEFAULT_LIMIT), cursor })
    return { items: page.rows.map(presentForAdmins), next_cursor: page.nextCursor }
  },
  show({ items, next_cursor }) {
    const rows = items.map((user) => [
      user.email,
      user.role,
      user.is_active ? 'active' : 'disabled',
      user.created_at,
      user.id,
    ])
    const list = table(['EMAIL', 'ROLE', 'STATE', 'CREATED', 'ID'], rows) || 'No users.'
    return next_cursor === null ? list : `${list}\nThere are more: --cursor ${next_cursor}`
  },
})
