import type { Config } from '../../config/config.ts'
import {
  AUDIT_READ,
  INTROSPECT,
  KEYS_LABEL,
  KEYS_READ,
  KEYS_WRITE,
  PORTAL,
  SERVICE_ACCOUNTS_READ,
  SERVICE_ACCOUNTS_WRITE,
  SUPPORT,
  USERS_READ,
  USERS_WRITE,
  VERIFY,
} from '../../lib/scopes.ts'
import { identifierOf, OWN_SLUG } from './audience.ts'
import type { Resource } from './model.ts'

/** The id under which Latchkey's own resource is shown. It has no row; lists show it last. */
export const OWN_RESOURCE_ID = '00000000-0000-0000-0000-000000000000'

/** What each scope of Latchkey's own lets an app do, in the words of a question to the person. */
const OWN_SCOPES: Record<string, string> = {
  [KEYS_READ]: 'See your API keys and how often they are used',
  [KEYS_WRITE]: 'Make, change and revoke your API keys',
  [KEYS_LABEL]: 'Say which customer an API key belongs to',
  [VERIFY]: 'Check whether any API key or token is valid',
  [INTROSPECT]: 'Read what any token or API key stands for',
  [SERVICE_ACCOUNTS_READ]: 'See the service accounts that you manage',
  [SERVICE_ACCOUNTS_WRITE]: 'Make, change and delete the service accounts that you manage',
  [USERS_READ]: 'See all users',
  [USERS_WRITE]: 'Make, change, disable and delete users',
  [AUDIT_READ]: 'Read the audit trail',
  [PORTAL]: 'Open the customer portal for the service accounts that you manage',
  [SUPPORT]: 'See what support sees, disable users and accounts, and revoke keys',
}

/**
 * Latchkey's own resource: its API, for apps that an admin registered (oauth.md, section 2, rule 5). Besides these scopes it has
 * the plain ones of each person.
 */
export const ownResource = (config: Pick<Config, 'publicUrl' | 'jwtAudience'>): Resource => ({
  id: OWN_RESOURCE_ID,
  identifier: identifierOf(config, { audience: 'latchkey', resource: null }),
  name: 'Latchkey',
  slug: OWN_SLUG,
  scopes: Object.entries(OWN_SCOPES).map(([name, description]) => ({
    name,
    description,
    grantable_by: 'ceiling',
  })),
  token_lifetime_seconds: null,
  is_active: true,
  is_own: true,
  created_at: null,
  created_by: null,
})
