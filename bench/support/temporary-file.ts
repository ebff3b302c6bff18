import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The path of a file that does not exist yet. `using file = temporaryFile()` removes the file. */
export function temporaryFile() {
  const directory = mkdtempSync(join(tmpdir(), 'latchkey-bench-'))
  return {
    path: join(directory, 'file'),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  }
}
