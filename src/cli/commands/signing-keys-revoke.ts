import { SYSTEM } from '../../core/audit/audit.ts'
import { listStoredKeys, revokeSigningKey } from '../../core/signing/signing-keys.ts'
import { defineCommand } from '../command.ts'

/** `latchkey signing-keys revoke` */
export const command = defineCommand({
  kind: 'service',
  details: `
Every access token that the key signed is refused at once; refresh tokens go on. Where it is the key that signs,
another takes over now. Services that verify by themselves learn of it when they read the JWKS again, within five
minutes. Before a KID that begins with "-" write "--".`,
  examples: [
    'signing-keys revoke Ikm2Y4vTHkQn3nTBf1hVNlWb5a0wq8H8Vr5P4Uo0x9c',
    'signing-keys revoke --json -- -5WwpPsJ4T1tCu5gXOm9p3Rz7K3mC0S2dE1fQaYbZcU',
  ],
  positionals: { kid: { label: 'KID', summary: 'The key, as "signing-keys list" shows it' } },
  async run(context, { kid }) {
    await revokeSigningKey(context, SYSTEM, kid)
    const current = (await listStoredKeys(context)).find(({ state }) => state === 'current')
    return { revoked: kid, current: current?.id ?? null }
  },
  show: ({ revoked, current }) =>
    `The key ${revoked} is revoked: what it signed is refused.${current ? ` ${current} signs.` : ''}`,
})
