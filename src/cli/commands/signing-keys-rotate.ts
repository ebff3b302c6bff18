import { SYSTEM } from '../../core/audit/audit.ts'
import { rotateSigningKey } from '../../core/signing/signing-keys.ts'
import { defineCommand } from '../command.ts'

/** `latchkey signing-keys rotate` */
export const command = defineCommand({
  kind: 'service',
  details: `
Makes the next key. It is published now and signs in five minutes, when services that keep the JWKS know it; the old
one verifies until its last token is dead. The server does the same every SIGNING_KEY_ROTATION_DAYS. To end a key at
once, revoke it.`,
  run: (context) => rotateSigningKey(context, SYSTEM),
  show: ({ id, signs_from }) => `The key ${id} is published, and signs from ${signs_from} on.`,
})
