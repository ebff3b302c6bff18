import { rewrapSecrets } from '../../core/second-factors/rewrap.ts'
import { defineCommand } from '../command.ts'
import { counted } from '../terminal.ts'

/** `latchkey secrets …`; `signing-keys rewrap` is the name from before there were other secrets. */
const rewrap = defineCommand({
  kind: 'service',
  details: `
The way to another SECRET_KEY, without a login or a second factor lost:
  1. On every server set SECRET_KEY_PREVIOUS to the new key.
  2. On every server swap the two. Then run this command once, with the same settings.
  3. After 30 days remove SECRET_KEY_PREVIOUS.`,
  run: rewrapSecrets,
  show: ({ rewrapped, totp_secrets }) =>
    `${counted(rewrapped, 'signing key')} and ${counted(totp_secrets, 'TOTP secret')} encrypted under the present SECRET_KEY.`,
})

export const commands = { 'secrets rewrap': rewrap, 'signing-keys rewrap': rewrap }
