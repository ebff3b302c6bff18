import { SYSTEM } from '../../core/audit/audit.ts'
import { operator, presentKey, rotateKey } from '../../core/keys/list.ts'
import { defineCommand } from '../command.ts'

const DEFAULT_OVERLAP_SECONDS = 86_400
const MAX_OVERLAP_SECONDS = 2_592_000

/** `latchkey keys rotate` */
export const command = defineCommand({
  kind: 'service',
  details:
    'The id and all that was set stay. The new key is printed this once; the old one works until the overlap ends.',
  examples: ['keys rotate 0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6 --overlap 3600'],
  positionals: { id: { label: 'ID', summary: 'The key' } },
  options: {
    overlap: {
      takes: 'SECONDS',
      range: [0, MAX_OVERLAP_SECONDS],
      summary: `How long the old one still works (${DEFAULT_OVERLAP_SECONDS}); 0 ends it at once`,
    },
  },
  async run(context, { id, overlap }) {
    const seconds = Number(overlap ?? DEFAULT_OVERLAP_SECONDS)
    const { row, key } = await rotateKey(context, SYSTEM, operator(), id, seconds)
    return { ...presentKey(row, context.clock()), key }
  },
  show({ id, key, secrets }) {
    const [old] = secrets
    const until = secrets.length > 1 && old?.expires_at ? `works until ${old.expires_at}` : 'works no more'
    return [`Key ${id} has a new secret; the old one ${until}.`, `Key, shown this once: ${key}`].join('\n')
  },
})
