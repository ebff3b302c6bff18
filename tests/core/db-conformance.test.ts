import { setDefaultTimeout } from 'bun:test'
import { embedded, postgres } from '../support/databases.ts'
import { describeConformance } from '../support/suites/conformance.ts'
import { describeEviction } from '../support/suites/eviction.ts'
import { describeHousekeeping } from '../support/suites/housekeeping.ts'

setDefaultTimeout(240_000)

/** The same code has to work on every database. PostgreSQL 14, the oldest, is in `tests/system/postgres-14.test.ts`. */
for (const target of [embedded, postgres(18)]) {
  describeConformance(target)
  describeEviction(target)
  describeHousekeeping(target)
}
