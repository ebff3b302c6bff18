import { rewrapSigningKeys } from '../../core/signing/signing-keys.ts'
import { defineCommand } from '../command.ts'
import { counted } from '../table.ts'

/** `latchkey signing-keys rewrap` */
export const command = defineCommand({
  kind: 'service',
  details: `
The way to another SECRET_KEY, without a login lost:
  1. On every server set SECRET_KEY_PREVIOUS to the new key.
  2. On every server swap the two. Then run this command once, with the same settings.
  3. After 30 days remove SECRET_KEY_PREVIOUS.`,
  run: rewrapSigningKeys,
  show: ({ rewrapped }) => `${counted(rewrapped, 'signing key')} encrypted under the present SECRET_KEY.`,
})
