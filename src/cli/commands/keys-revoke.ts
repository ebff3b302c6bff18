import { Value } from '@sinclair/typebox/value'
import { SYSTEM } from '../../core/audit/audit.ts'
import { operator, revokeKey } from '../../core/keys/list.ts'
import { RevokeQuery } from '../../core/keys/model.ts'
import { failField } from '../../lib/errors.ts'
import { defineCommand } from '../command.ts'

/** `latchkey keys revoke` */
export const command = defineCommand({
  kind: 'service',
  details: 'Final. A key that is revoked already stays as it is, with its first reason.',
  examples: ['keys revoke 0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6 --reason "found in a log" --created'],
  positionals: { id: { label: 'ID', summary: 'The key' } },
  options: {
    reason: { takes: 'TEXT', summary: 'Why, for whoever reads of it later' },
    created: { summary: 'Revoke the keys that it made, too' },
  },
  async run(context, { id, reason, created }) {
    if (reason !== undefined && !Value.Check(RevokeQuery.properties.reason, reason)) {
      failField('reason', 'Must be text of at most 500 characters, on one line')
    }
    await revokeKey(context, SYSTEM, operator(), id, { reason: reason ?? null, created })
    return { id }
  },
  show: ({ id }) => `Key ${id} is revoked.`,
})
