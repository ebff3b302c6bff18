import { listVisibleKeys, operator, presentKey } from '../../core/keys/list.ts'
import { requireUserId } from '../../core/users/accounts.ts'
import { defineCommand } from '../command.ts'
import { table } from '../table.ts'
import { ownerOptions, requireOneOwner } from './keys-owner.ts'

const DEFAULT_LIMIT = 100
const MAX_LIMIT = 10_000

/** `latchkey keys list` */
export const command = defineCommand({
  kind: 'service',
  details: `Everybody's, newest first, unless an owner is named.`,
  examples: ['keys list --user user@example.com', 'keys list --status active --limit 10000 --json'],
  options: {
    ...ownerOptions,
    'external-id': { takes: 'TEXT', summary: 'Only those with that external id' },
    status: {
      takes: 'STATUS',
      choices: ['active', 'disabled', 'expired', 'revoked'],
      summary: 'Only those: active, disabled, expired or revoked',
    },
    limit: { takes: 'N', range: [1, MAX_LIMIT], summary: `At most so many (${DEFAULT_LIMIT})` },
    cursor: { takes: 'CURSOR', summary: 'Go on where a page before ended' },
  },
  async run(context, args) {
    requireOneOwner(args)
    const { user, 'service-account': account, 'external-id': externalId, status, limit, cursor } = args
    const { keys, nextCursor } = await listVisibleKeys(context, operator(), {
      limit: Number(limit ?? DEFAULT_LIMIT),
      ...(user !== undefined && { user_id: await requireUserId(context, user) }),
      ...(account !== undefined && { service_account_id: account }),
      ...(externalId !== undefined && { external_id: externalId }),
      ...(status !== undefined && { status }),
      ...(cursor !== undefined && { cursor }),
    })
    // Judged by the service's clock, not by that of whoever reads.
    const now = context.clock()
    const statusOf = ({ revoked_at, expires_at, is_active }: ReturnType<typeof presentKey>) => {
      if (revoked_at !== null) return 'revoked'
      if (expires_at !== null && Date.parse(expires_at) <= now) return 'expired'
      return is_active ? 'active' : 'disabled'
    }
    const items = keys.map((key) => presentKey(key, now)).map((key) => ({ ...key, status: statusOf(key) }))
    return { items, next_cursor: nextCursor }
  },
  show({ items, next_cursor }) {
    const rows = items.map((key) => [
      key.start,
      key.name ?? '-',
      key.status,
      key.user_id ?? key.service_account_id ?? '-',
      key.scopes.join(',') || '-',
      key.expires_at ?? 'never',
      key.last_used_at ?? 'never',
      key.id,
    ])
    const headings = ['START', 'NAME', 'STATE', 'OWNER', 'SCOPES', 'EXPIRES', 'LAST USED', 'ID']
    const list = table(headings, rows) || 'No keys.'
    return next_cursor === null ? list : `${list}\nThere are more: --cursor ${next_cursor}`
  },
})
