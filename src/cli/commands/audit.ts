import { listEvents, presentEvent } from '../../core/audit/audit.ts'
import { DEFAULT_LIMIT, pageOptions } from '../arguments.ts'
import { defineCommand } from '../command.ts'
import { table, withMore } from '../terminal.ts'

/** `latchkey audit list`. */
export const commands = {
  'audit list': defineCommand({
    kind: 'service',
    examples: [
      'audit list --action user.login_failed --from 2026-01-31T00:00:00Z',
      'audit list --target 0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6 --json',
    ],
    options: {
      actor: { takes: 'ID', summary: 'Only what this user, key or session did' },
      target: { takes: 'ID', summary: 'Only what was done to this' },
      action: { takes: 'ACTION', summary: 'Only this action, such as key.revoked' },
      outcome: { takes: 'OUTCOME', choices: ['success', 'refused'], summary: 'success, or refused' },
      'request-id': { takes: 'ID', summary: 'Only what this request did' },
      from: { takes: 'TIME', summary: 'From this time on, such as 2026-01-31T00:00:00Z' },
      to: { takes: 'TIME', summary: 'Before this time' },
      ...pageOptions,
    },
    async run(context, { limit, 'request-id': requestId, ...given }) {
      const named = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
      const { rows, nextCursor } = await listEvents(context, {
        ...named,
        ...(requestId !== undefined && { request_id: requestId }),
        limit: Number(limit ?? DEFAULT_LIMIT),
      })
      return { items: rows.map(presentEvent), next_cursor: nextCursor }
    },
    show({ items, next_cursor }) {
      const party = ({ type, id }: { type: string | null; id: string | null }) =>
        [type, id].filter(Boolean).join(' ') || '-'
      const rows = items.map((event) => [
        event.at,
        event.action,
        event.outcome,
        party(event.actor),
        party(event.target),
        event.ip ?? '-',
      ])
      const headings = ['AT', 'ACTION', 'OUTCOME', 'ACTOR', 'TARGET', 'ADDRESS']
      return withMore(table(headings, rows) || 'No events.', next_cursor)
    },
  }),
}
