import { SYSTEM } from '../../core/audit/audit.ts'
import { listStoredKeys, revokeSigningKey, rotateSigningKey } from '../../core/signing/signing-keys.ts'
import { defineCommand } from '../command.ts'
import { table } from '../terminal.ts'

/** `latchkey signing-keys …`. */
export const commands = {
  'signing-keys list': defineCommand({
    kind: 'service',
    details: `
States: "next" is published and does not sign yet; "current" signs; "retiring" verifies until its last token expires;
"retired" and "revoked" verify no token. With ALGORITHM=HS256 no signing key is used: SECRET_KEY itself signs.`,
    run: listStoredKeys,
    show: (keys) =>
      table(
        ['KID', 'ALGORITHM', 'STATE', 'CREATED', 'SIGNS FROM'],
        keys.map((key) => [key.id, key.algorithm, key.state, key.created_at, key.signs_from]),
      ) || 'There are no signing keys.',
  }),

  'signing-keys rotate': defineCommand({
    kind: 'service',
    details: `
Creates the next key. It is published now and signs in five minutes, when services that cache the JWKS know it. The old
key verifies until its last token expires. The server rotates by itself every SIGNING_KEY_ROTATION_DAYS. To end a key
at once, revoke it.`,
    run: (context) => rotateSigningKey(context, SYSTEM),
    show: ({ id, signs_from }) => `The key ${id} is published, and signs from ${signs_from} on.`,
  }),

  'signing-keys revoke': defineCommand({
    kind: 'service',
    details: `
Every access token that the key signed is refused at once. Refresh tokens stay valid. If the key is the one that signs,
another key replaces it now. Services that verify tokens by themselves learn of the revocation when they next read the
JWKS, within five minutes. Write "--" before a KID that begins with "-".`,
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
  }),
}
