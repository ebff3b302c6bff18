import { listStoredKeys } from '../../core/signing/signing-keys.ts'
import { defineCommand } from '../command.ts'
import { table } from '../table.ts'

/** `latchkey signing-keys list` */
export const command = defineCommand({
  kind: 'service',
  details: `
States: "next" is published and does not sign yet; "current" signs; "retiring" verifies until its last token is dead;
"retired" and "revoked" verify nothing. With ALGORITHM=HS256 none is in use: SECRET_KEY itself signs.`,
  run: listStoredKeys,
  show: (keys) =>
    table(
      ['KID', 'ALGORITHM', 'STATE', 'CREATED', 'SIGNS FROM'],
      keys.map((key) => [key.id, key.algorithm, key.state, key.created_at, key.signs_from]),
    ) || 'There are no signing keys.',
})
