import { SYSTEM } from '../../core/audit/audit.ts'
import { createKey, operator, presentKey } from '../../core/keys/list.ts'
import { defineCommand } from '../command.ts'
import { readNewKey, settingsOptions } from './key-options.ts'
import { operatorFor, ownerOptions, requireOneOwner } from './keys-owner.ts'

/** `latchkey keys create` */
export const command = defineCommand({
  kind: 'service',
  details: `
Name its owner by --user or --service-account. The key is printed this once; --json prints the whole of it. It holds no
scope that its owner may not hold: a key that may ask "latchkey:verify" belongs to an admin, or to a service account
that an admin gave that scope. Without --credits a --refill begins with a full measure.`,
  examples: [
    'keys create --user user@example.com --name deploy --scopes read,write --expires-in-days 90',
    'keys create --service-account 0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6 --scopes read --allowed-ips 192.0.2.0/24',
  ],
  options: { ...ownerOptions, ...settingsOptions },
  async run(context, args) {
    requireOneOwner(args)
    const { user, 'service-account': account } = args
    if (user === undefined && account === undefined) {
      throw new Error('say whose key it is to be: --user EMAIL|ID or --service-account ID')
    }
    const input = readNewKey(args, account)
    const caller = user === undefined ? operator() : await operatorFor(context, user)
    const { row, key } = await createKey(context, SYSTEM, caller, input)
    return { ...presentKey(row, context.clock()), key }
  },
  show: ({ id, name, scopes, expires_at, key }) =>
    [
      `Key ${name ?? id} made (id ${id}).`,
      `Scopes: ${scopes.join(', ') || 'none'}. Expires: ${expires_at ?? 'never'}.`,
      `Key, shown this once: ${key}`,
    ].join('\n'),
})
