import { setDefaultTimeout } from 'bun:test'
import { postgres } from '../support/databases.ts'
import { describeConformance } from '../support/suites/conformance.ts'
import { describeEviction } from '../support/suites/eviction.ts'
import { describeHousekeeping } from '../support/suites/housekeeping.ts'
import { describeMigrations } from '../support/suites/migrations.ts'

setDefaultTimeout(240_000)

/** The oldest PostgreSQL that Latchkey runs on. */
const oldest = postgres(14)
describeConformance(oldest)
describeEviction(oldest)
describeHousekeeping(oldest)
describeMigrations(14)
