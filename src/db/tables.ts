import { is } from 'drizzle-orm'
import { PgTable } from 'drizzle-orm/pg-core'
import * as authorization from './authorization.ts'
import * as console from './console.ts'
import * as oauth from './oauth.ts'
import * as people from './people.ts'
import * as portal from './portal.ts'
import * as regions from './regions.ts'
import * as schema from './schema.ts'

/** Every table of the schema. A new table of these files is included automatically. */
export const EVERY_TABLE: readonly PgTable[] = Object.values({
  ...schema,
  ...people,
  ...console,
  ...portal,
  ...oauth,
  ...authorization,
  ...regions,
}).filter((member) => is(member, PgTable))
