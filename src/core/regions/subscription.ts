import { PUBLICATION, PUBLISHED, READ_IN_REGION, VERIFIER_ROLE } from '../../db/published.ts'
import { regionSchema } from '../../db/region-schema.ts'
import {
  columnList,
  createRole,
  grantConnect,
  note,
  type Piece,
  quoteName,
  quoteText,
  run,
  type Script,
} from './script.ts'

/** What a subscription is made with. */
export type SubscriptionOptions = {
  /** The region's name; its subscription, and the slot at home, are `latchkey_` with it. */
  name: string
  /** How the region's server reaches home, as libpq takes it. */
  connection?: string | undefined
  /** Whether the slot is kept through a failover of home. PostgreSQL 17 and later, at home and in the region. */
  failover?: boolean
  /** The role of the verifiers. */
  role?: string | undefined
}

const EXAMPLE = `host=home.example.com dbname=latchkey user=latchkey_region password=… sslmode=verify-full`

export const subscriptionName = (region: string): string => `latchkey_${region}`

/** The statement that begins to copy. It runs in no transaction. */
export const createSubscription = ({
  name,
  connection = EXAMPLE,
  failover = false,
}: SubscriptionOptions): string =>
  `CREATE SUBSCRIPTION ${quoteName(subscriptionName(name))} CONNECTION ${quoteText(connection)} PUBLICATION ${PUBLICATION}${failover ? ' WITH (failover = true)' : ''}`

/**
 * The SQL for the database of a region: what the copy needs of the schema, guards against local changes, the role of the
 * verifiers, and the subscription.
 * @param existing the names of the subscriptions that copy Latchkey's tables already: they look for new tables instead
 */
export function subscriptionScript(options: SubscriptionOptions, existing: readonly string[]): Script {
  return {
    pieces: [
      note(
        `For the database of the region, behind "latchkey migrate --region". As a superuser; from PostgreSQL 16 on also as a
member of pg_create_subscription who may CREATE in this database and SET ROLE to the owner of the tables.
The schema of a copy: columns that stay at home may be missing, and no foreign key leads to a published table.`,
      ),
      ...run('BEGIN', ...regionSchema()),
      ...verifierRole(options.role ?? VERIFIER_ROLE),
      ...run('COMMIT'),
      ...(existing.length === 0
        ? [
            note('The copy begins. This statement runs in no transaction.'),
            ...run(createSubscription(options)),
          ]
        : [
            note('The subscription is there. It looks for tables that are published since.'),
            ...run(...existing.map((name) => `ALTER SUBSCRIPTION ${quoteName(name)} REFRESH PUBLICATION`)),
          ]),
    ],
  }
}

/** The role of the verifiers reads, and reads no column that stays at home. */
function verifierRole(name: string): Piece[] {
  const verifier = quoteName(name)
  return [
    note('The role of the verifiers reads the copy and writes nothing. Give it a password afterwards.'),
    ...run(
      createRole(name, 'LOGIN'),
      grantConnect(name),
      `REVOKE ALL ON ALL TABLES IN SCHEMA latchkey FROM ${verifier}`,
      `GRANT USAGE ON SCHEMA latchkey TO ${verifier}`,
      ...PUBLISHED.map(
        ({ name: table, columns }) =>
          `GRANT SELECT (${columnList(columns)}) ON latchkey.${quoteName(table)} TO ${verifier}`,
      ),
      ...READ_IN_REGION.map((table) => `GRANT SELECT ON latchkey.${quoteName(table)} TO ${verifier}`),
    ),
  ]
}
